; MEM_WRITE while dirty pages are logged: note the page once. %d are the words of class Log in
; dirty.py. An access that reaches into the next linear page is told by where it begins only, and a
; list that is full takes no more: then the log is lost.

define void @dirty(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %d) {
  %page = lshr i64 %address, 12
  %pages.p = getelementptr i64, ptr %d, i64 @DIRTY_PAGES@
  %pages = load i64, ptr %pages.p
  %in.ram = icmp ult i64 %page, %pages
  br i1 %in.ram, label %inside, label %out
inside:
  %size = zext i32 %size32 to i64
  %offset = and i64 %address, 4095
  %end = add i64 %offset, %size
  %crosses = icmp ugt i64 %end, 4096
  br i1 %crosses, label %lose, label %look
look:
  %marks.p = getelementptr i64, ptr %d, i64 @DIRTY_MARKS@
  %marks = load ptr, ptr %marks.p
  %mark.p = getelementptr i8, ptr %marks, i64 %page
  %mark = load i8, ptr %mark.p
  %known = icmp ne i8 %mark, 0
  br i1 %known, label %out, label %note
note:
  %used.p = getelementptr i64, ptr %d, i64 @DIRTY_USED@
  %used = load i64, ptr %used.p
  %room = icmp ult i64 %used, @DIRTY_ENTRIES@
  br i1 %room, label %add, label %lose
add:
  store i8 1, ptr %mark.p
  %at = add i64 %used, @DIRTY_FIRST@
  %entry.p = getelementptr i64, ptr %d, i64 %at
  store i64 %page, ptr %entry.p
  %more = add i64 %used, 1
  store i64 %more, ptr %used.p
  br label %out
lose:
  %lost.p = getelementptr i64, ptr %d, i64 @DIRTY_LOST@
  store i64 1, ptr %lost.p
  br label %out
out:
  ret void
}
