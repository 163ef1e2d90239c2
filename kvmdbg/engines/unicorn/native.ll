; The few functions that run while the guest runs: LLVM IR, compiled in a few milliseconds by
; native.py, called by Unicorn. A word in capitals between @ signs is the index of a 64-bit word in
; the block that every hook gets as its last argument (class Word in native.py).
;
; Every hook only counts, compares, or asks for a stop. What a stop means is decided in Python.

declare i32 @uc_emu_stop(ptr)
declare i32 @uc_reg_read(ptr, i32, ptr)
declare i32 @uc_ctl(ptr, i32, ...)
declare i32 @clock_gettime(i32, ptr)
declare i32 @memcmp(ptr, ptr, i64)
declare i64 @llvm.cttz.i64(i64, i1)

!0 = !{!"branch_weights", i32 2000, i32 1}

; -- stopping --------------------------------------------------------------------------------------

; Note a reason, and let BLOCK count no more: it may be called once again before the engine leaves.
define internal void @stop(ptr %uc, ptr %u, i64 %reason) noinline {
  %why.p = getelementptr i64, ptr %u, i64 @WHY@
  %why = load i64, ptr %why.p
  %more = or i64 %why, %reason
  store i64 %more, ptr %why.p
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  store i64 0, ptr %pause.p
  call i32 @uc_emu_stop(ptr %uc)
  ret void
}

; -- the clock -------------------------------------------------------------------------------------

; BLOCK: count a block before it runs. The usual block is in the table, has more than one
; instruction, and does not reach PAUSE; everything else goes the long way.
define void @block(ptr %uc, i64 %pc, i32 %size32, ptr %u) {
  %size = zext i32 %size32 to i64
  %table.p = getelementptr i64, ptr %u, i64 @TABLE@
  %table = load ptr, ptr %table.p
  %high = lshr i64 %pc, 12
  %mixed = xor i64 %pc, %high
  %index = and i64 %mixed, @INDEX_MASK@
  %slot = getelementptr {i64, i64}, ptr %table, i64 %index
  %slot.pc = load i64, ptr %slot
  %info.p = getelementptr i64, ptr %slot, i64 1
  %info = load i64, ptr %info.p
  %count = and i64 %info, 65535
  %info.size = lshr i64 %info, 16
  %same.pc = icmp eq i64 %slot.pc, %pc
  %same.size = icmp eq i64 %info.size, %size
  %several = icmp ugt i64 %count, 1
  %known = and i1 %same.pc, %same.size
  %usual = and i1 %known, %several
  br i1 %usual, label %add, label %long, !prof !0
add:
  %insns.p = getelementptr i64, ptr %u, i64 @INSNS@
  %insns = load i64, ptr %insns.p
  %then = add i64 %insns, %count
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %early = icmp ule i64 %then, %pause
  br i1 %early, label %done, label %long, !prof !0
done:
  store i64 %then, ptr %insns.p
  %last.pc.p = getelementptr i64, ptr %u, i64 @LAST_PC@
  store i64 %pc, ptr %last.pc.p
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  store i64 %info, ptr %last.p
  ret void
long:
  tail call void @block_long(ptr %uc, i64 %pc, i64 %size, ptr %u, ptr %slot)
  ret void
}

define internal void @block_long(ptr %uc, i64 %pc, i64 %size, ptr %u, ptr %slot) noinline {
  %slot.pc = load i64, ptr %slot
  %info.p = getelementptr i64, ptr %slot, i64 1
  %info.old = load i64, ptr %info.p
  %count.old = and i64 %info.old, 65535
  %info.high = lshr i64 %info.old, 16
  %info.size = and i64 %info.high, 65535
  %rep.mask = lshr i64 %info.old, 32
  %same.pc = icmp eq i64 %slot.pc, %pc
  %same.size = icmp eq i64 %info.size, %size
  %clear = icmp ne i64 %count.old, 0
  %same = and i1 %same.pc, %same.size
  %known = and i1 %same, %clear
  br i1 %known, label %have, label %ask
ask:
  %asked = call i64 @ask(ptr %uc, i64 %pc, i64 %size, ptr %u, ptr %slot, i1 %same)
  br label %have
have:
  %count = phi i64 [ %count.old, %0 ], [ %asked, %ask ]
  %alone = icmp eq i64 %count, 1
  br i1 %alone, label %check, label %add
check:
  %stopped = call i1 @rewritten(ptr %uc, i64 %pc, i64 %size, ptr %u)
  br i1 %stopped, label %out, label %repeats
repeats:
  %is.rep = icmp ne i64 %rep.mask, 0
  %rep = and i1 %is.rep, %known
  br i1 %rep, label %turn, label %add
turn:
  %closes = call i1 @closes_rep(i64 %pc, i64 %size, i64 %rep.mask, ptr %u)
  %one = select i1 %closes, i64 0, i64 1
  br label %add
add:
  %counts = phi i64 [ %count, %have ], [ 1, %repeats ], [ %one, %turn ]
  %insns.p = getelementptr i64, ptr %u, i64 @INSNS@
  %insns = load i64, ptr %insns.p
  %then = add i64 %insns, %counts
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %before.pause = icmp ule i64 %then, %pause
  %logging.p = getelementptr i64, ptr %u, i64 @LOGGING@
  %logging = load i64, ptr %logging.p
  %logs = icmp ne i64 %logging, 0
  %silent = xor i1 %logs, true
  %early = and i1 %before.pause, %silent
  br i1 %early, label %count.it, label %look
look:
  %leave = call i1 @look_around(ptr %uc, i64 %pc, i64 %size, i64 %count, i64 %then, ptr %u)
  br i1 %leave, label %out, label %count.it
count.it:
  store i64 %then, ptr %insns.p
  %last.pc.p = getelementptr i64, ptr %u, i64 @LAST_PC@
  store i64 %pc, ptr %last.pc.p
  %high = shl i64 %size, 16
  %last = or i64 %high, %counts
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  store i64 %last, ptr %last.p
  br i1 %logs, label %log, label %out
log:
  call void @log_block(i64 %pc, i64 %last, ptr %u)
  br label %out
out:
  ret void
}

; Add a counted block to the log: its number << 32 | whether MOV SS or STI came before it << 31 |
; instructions. The turn of a REP that counts nothing is left out.
define internal void @log_block(i64 %pc, i64 %last, ptr %u) noinline {
  %counts = and i64 %last, 65535
  %any = icmp ne i64 %counts, 0
  %logging.p = getelementptr i64, ptr %u, i64 @LOGGING@
  %logging = load i64, ptr %logging.p
  %new = icmp ne i64 %logging, @LOGGED@
  store i64 1, ptr %logging.p
  %wanted = and i1 %any, %new
  br i1 %wanted, label %note, label %out
note:
  %known = call ptr @known(i64 %pc, ptr %u)
  %number.p = getelementptr i64, ptr %known, i64 2
  %number = load i64, ptr %number.p
  %high = shl i64 %number, 32
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %hflags.p = getelementptr i8, ptr %env, i64 @HFLAGS@
  %hflags = load i32, ptr %hflags.p
  %inhibits = and i32 %hflags, @INHIBIT_IRQ@
  %shadowed = icmp ne i32 %inhibits, 0
  %shadow = select i1 %shadowed, i64 2147483648, i64 0
  %numbered = or i64 %high, %counts
  %word = or i64 %numbered, %shadow
  %log.p = getelementptr i64, ptr %u, i64 @LOG@
  %log = load ptr, ptr %log.p
  %used.p = getelementptr i64, ptr %u, i64 @LOG_USED@
  %used = load i64, ptr %used.p
  %entry = getelementptr i64, ptr %log, i64 %used
  store i64 %word, ptr %entry
  %more = add i64 %used, 1
  store i64 %more, ptr %used.p
  br label %out
out:
  ret void
}

; Where a block has its place among the known ones: (pc, tag << 32 | bytes << 16 | instructions,
; number).
define internal ptr @known(i64 %pc, ptr %u) {
  %table.p = getelementptr i64, ptr %u, i64 @KNOWN@
  %table = load ptr, ptr %table.p
  %high = lshr i64 %pc, 12
  %mixed = xor i64 %pc, %high
  %index = and i64 %mixed, @INDEX_MASK@
  %place = getelementptr {i64, i64, i64, i64}, ptr %table, i64 %index
  ret ptr %place
}

; While blocks are logged: has this one been decoded? If not, its key is left for Python. The tag
; tells address spaces and kinds of code apart.
define internal i1 @is_known(i64 %pc, i64 %size, i64 %count, ptr %u) noinline {
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %cr3.p = getelementptr i8, ptr %env, i64 @PAGE_TABLES@
  %cr3 = load i64, ptr %cr3.p
  %hflags.p = getelementptr i8, ptr %env, i64 @HFLAGS@
  %hflags32 = load i32, ptr %hflags.p
  %hflags = zext i32 %hflags32 to i64
  %page = lshr i64 %cr3, 12
  %space = and i64 %page, @TAG_SPACE@
  %mode = and i64 %hflags, @TAG_MODE@
  %mode.high = shl i64 %mode, 16
  %tag.low = or i64 %mode.high, %space
  %tag = shl i64 %tag.low, 32
  %size.high = shl i64 %size, 16
  %shape = or i64 %size.high, %count
  %info = or i64 %tag, %shape
  %place = call ptr @known(i64 %pc, ptr %u)
  %its.pc = load i64, ptr %place
  %its.info.p = getelementptr i64, ptr %place, i64 1
  %its.info = load i64, ptr %its.info.p
  %same.pc = icmp eq i64 %its.pc, %pc
  %same.info = icmp eq i64 %its.info, %info
  %same = and i1 %same.pc, %same.info
  br i1 %same, label %out, label %tell
tell:
  %new.pc.p = getelementptr i64, ptr %u, i64 @NEW_PC@
  store i64 %pc, ptr %new.pc.p
  %new.info.p = getelementptr i64, ptr %u, i64 @NEW_INFO@
  store i64 %info, ptr %new.info.p
  br label %out
out:
  ret i1 %same
}

; Only the first instruction of the block logged last ran, as a block of its own that comes now and
; need not be logged.
define internal void @log_first(ptr %u) noinline {
  %logging.p = getelementptr i64, ptr %u, i64 @LOGGING@
  %logging = load i64, ptr %logging.p
  %logs = icmp ne i64 %logging, 0
  br i1 %logs, label %shorten, label %out
shorten:
  store i64 @LOGGED@, ptr %logging.p
  %log.p = getelementptr i64, ptr %u, i64 @LOG@
  %log = load ptr, ptr %log.p
  %used.p = getelementptr i64, ptr %u, i64 @LOG_USED@
  %used = load i64, ptr %used.p
  %last = sub i64 %used, 1
  %entry = getelementptr i64, ptr %log, i64 %last
  %word = load i64, ptr %entry
  %bare = and i64 %word, -65536
  %one = or i64 %bare, 1
  store i64 %one, ptr %entry
  br label %out
out:
  ret void
}

; Is this the turn of a REP that only finds its count at 0 and leaves? A stepped REP has none, so it
; does not count. The block before it must have ended with the same REP.
define internal i1 @closes_rep(i64 %pc, i64 %size, i64 %mask, ptr %u) noinline {
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %rcx.p = getelementptr i64, ptr %env, i64 1
  %rcx = load i64, ptr %rcx.p
  %narrow = and i64 %rcx, %mask
  %whole = icmp eq i64 %mask, 1
  %left = select i1 %whole, i64 %rcx, i64 %narrow
  %none = icmp eq i64 %left, 0
  %last.pc.p = getelementptr i64, ptr %u, i64 @LAST_PC@
  %last.pc = load i64, ptr %last.pc.p
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  %last = load i64, ptr %last.p
  %last.size = lshr i64 %last, 16
  %last.end = add i64 %last.pc, %last.size
  %end = add i64 %pc, %size
  %same.end = icmp eq i64 %last.end, %end
  %ran = icmp ne i64 %last, 0
  %follows = and i1 %same.end, %ran
  %closes = and i1 %none, %follows
  ret i1 %closes
}

; Instruction count of a block that the table does not know. If the engine answers for a block of
; another size, this one is not cached: a store that is re-run alone (see @rewritten).
define internal i64 @ask(ptr %uc, i64 %pc, i64 %size, ptr %u, ptr %slot, i1 %ambiguous) noinline {
  %tb = getelementptr i64, ptr %u, i64 @BLOCK_INFO@
  call i32 (ptr, i32, ...) @uc_ctl(ptr %uc, i32 @REQUEST_CACHE@, i64 %pc, ptr %tb)
  %sizes.p = getelementptr i64, ptr %tb, i64 1
  %sizes = load i64, ptr %sizes.p
  %count = and i64 %sizes, 65535
  %shifted = lshr i64 %sizes, 16
  %tb.size = and i64 %shifted, 65535
  %same = icmp eq i64 %tb.size, %size
  br i1 %same, label %ours, label %alone
ours:
  br i1 %ambiguous, label %out, label %keep
keep:
  store i64 %pc, ptr %slot
  %info.p = getelementptr i64, ptr %slot, i64 1
  %high = shl i64 %size, 16
  %info = or i64 %high, %count
  store i64 %info, ptr %info.p
  br label %out
out:
  ret i64 %count
alone:
  ret i64 1
}

; Is this one instruction the store of the last block, alone again? True when the run must stop.
; After a store into the running block the engine drops that block and runs the store as a block of
; its own, inside the old one. The whole block had been counted. If it began with the store, it is
; un-counted here; if not, a part of it was executed, and Python counts that. Under TF (TRACKS_SMC is
; 0) a block is one instruction, and the same one twice in one run can only be such a store; nor
; is one instruction a sign where the guest has just set TF.
define internal i1 @rewritten(ptr %uc, i64 %pc, i64 %size, ptr %u) noinline {
  %last.pc.p = getelementptr i64, ptr %u, i64 @LAST_PC@
  %last.pc = load i64, ptr %last.pc.p
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  %last = load i64, ptr %last.p
  %before = lshr i64 %last, 16
  %inside = sub i64 %pc, %last.pc
  %end = add i64 %inside, %size
  %begins = icmp ult i64 %inside, %before
  %ends = icmp ult i64 %end, %before
  %within = and i1 %begins, %ends
  %first = icmp eq i64 %inside, 0
  %counted.one = icmp ne i64 %last, 0
  %twice = and i1 %first, %counted.one
  %tracks.p = getelementptr i64, ptr %u, i64 @TRACKS_SMC@
  %tracks = load i64, ptr %tracks.p
  %tracking = icmp ne i64 %tracks, 0
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %eflags.p = getelementptr i8, ptr %env, i64 @EFLAGS@
  %eflags = load i32, ptr %eflags.p
  %trap = and i32 %eflags, @TF@
  %free = icmp eq i32 %trap, 0
  %again.free = and i1 %within, %free
  %again = select i1 %tracking, i1 %again.free, i1 %twice
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %running = icmp ne i64 %pause, 0
  %is = and i1 %again, %running
  br i1 %is, label %yes, label %no
yes:
  br i1 %first, label %uncount, label %part
uncount:
  %insns.p = getelementptr i64, ptr %u, i64 @INSNS@
  %insns = load i64, ptr %insns.p
  %counted = and i64 %last, 65535
  %less = sub i64 %insns, %counted
  store i64 %less, ptr %insns.p
  call void @log_first(ptr %u)
  %again.p = getelementptr i64, ptr %u, i64 @TRACE_AGAIN@
  store i64 1, ptr %again.p
  br label %no
part:
  call void @stop(ptr %uc, ptr %u, i64 @WHY_REWRITTEN@)
  ret i1 true
no:
  ret i1 false
}

; PAUSE is reached: see what an IRET has loaded; stop for a request, a stop under way, the limit, a
; full log or trace, a block to be logged that is not known, or the deadline; else set the next PAUSE. True
; when the run stops here.
define internal i1 @look_around(ptr %uc, i64 %pc, i64 %size, i64 %count, i64 %then, ptr %u) {
  %iret.p = getelementptr i64, ptr %u, i64 @IRET@
  %iret = load i64, ptr %iret.p
  %ran.one = icmp ne i64 %iret, 0
  br i1 %ran.one, label %settle, label %asked
settle:
  call void @settle_rf(i64 %pc, ptr %u)
  br label %asked
asked:
  %request.p = getelementptr i64, ptr %u, i64 @REQUEST@
  %request = load i64, ptr %request.p
  %requested = icmp ne i64 %request, 0
  br i1 %requested, label %stop, label %halt
halt:
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %halted = icmp eq i64 %pause, 0
  br i1 %halted, label %stop, label %limits
limits:
  %limit.p = getelementptr i64, ptr %u, i64 @LIMIT@
  %limit = load i64, ptr %limit.p
  %over = icmp ugt i64 %then, %limit
  br i1 %over, label %stop, label %trace
trace:
  %tracing.p = getelementptr i64, ptr %u, i64 @TRACING@
  %tracing = load i64, ptr %tracing.p
  %traces = icmp ne i64 %tracing, 0
  br i1 %traces, label %columns, label %log
columns:
  %rows.p = getelementptr i64, ptr %u, i64 @TRACE_ROWS@
  %rows = load i64, ptr %rows.p
  %values.p = getelementptr i64, ptr %u, i64 @TRACE_VALUES_USED@
  %values = load i64, ptr %values.p
  %writes.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES_USED@
  %writes = load i64, ptr %writes.p
  %rows.full = icmp ugt i64 %rows, @TRACE_ROWS_FULL@
  %values.full = icmp ugt i64 %values, @TRACE_VALUES_FULL@
  %writes.full = icmp ugt i64 %writes, @TRACE_WRITES_FULL@
  %some.full = or i1 %rows.full, %values.full
  %trace.full = or i1 %some.full, %writes.full
  br i1 %trace.full, label %stop, label %log
log:
  %logging.p = getelementptr i64, ptr %u, i64 @LOGGING@
  %logging = load i64, ptr %logging.p
  %logs = icmp ne i64 %logging, 0
  br i1 %logs, label %room, label %time
room:
  %used.p = getelementptr i64, ptr %u, i64 @LOG_USED@
  %used = load i64, ptr %used.p
  %full = icmp uge i64 %used, @LOG_ENTRIES@
  br i1 %full, label %stop, label %decoded
decoded:
  %is.known = call i1 @is_known(i64 %pc, i64 %size, i64 %count, ptr %u)
  %is.logged = icmp eq i64 %logging, @LOGGED@
  %goes.on = or i1 %is.known, %is.logged
  br i1 %goes.on, label %time, label %stop
time:
  %deadline.p = getelementptr i64, ptr %u, i64 @DEADLINE@
  %deadline = load i64, ptr %deadline.p
  %timed = icmp ne i64 %deadline, 0
  %look.p = getelementptr i64, ptr %u, i64 @LOOK_AT@
  %look = load i64, ptr %look.p
  %due = icmp uge i64 %then, %look
  %looks = and i1 %timed, %due
  br i1 %looks, label %clock, label %on
clock:
  %now.p = getelementptr i64, ptr %u, i64 @TIMESPEC@
  call i32 @clock_gettime(i32 @MONOTONIC@, ptr %now.p)
  %seconds = load i64, ptr %now.p
  %nanos.p = getelementptr i64, ptr %now.p, i64 1
  %nanos = load i64, ptr %nanos.p
  %in.ns = mul i64 %seconds, 1000000000
  %now = add i64 %in.ns, %nanos
  %late = icmp ugt i64 %now, %deadline
  %later = add i64 %then, @LOOK_EVERY@
  store i64 %later, ptr %look.p
  br i1 %late, label %stop, label %on
on:
  %further = add i64 %then, @LOOK_EVERY@
  %nearer = icmp ult i64 %further, %limit
  %usual = select i1 %nearer, i64 %further, i64 %limit
  %shield = load i64, ptr %iret.p
  %shields = icmp ne i64 %shield, 0
  %observed = or i1 %logs, %traces
  %each = or i1 %shields, %observed
  %next = select i1 %each, i64 1, i64 %usual
  store i64 %next, ptr %pause.p
  ret i1 false
stop:
  %reason = phi i64 [ @WHY_REQUEST@, %asked ], [ @WHY_HALT@, %halt ], [ @WHY_LIMIT@, %limits ],
                    [ @WHY_DEADLINE@, %columns ], [ @WHY_DEADLINE@, %room ],
                    [ @WHY_NEW_BLOCK@, %decoded ], [ @WHY_DEADLINE@, %clock ]
  call void @stop(ptr %uc, ptr %u, i64 %reason)
  ret i1 true
}

; The block at %pc is the first after an IRET, or the one after that. Unicorn would show the RF that
; IRET loads to whoever looks; it is taken away, and remembered for this block's first instruction.
define internal void @settle_rf(i64 %pc, ptr %u) noinline {
  %iret.p = getelementptr i64, ptr %u, i64 @IRET@
  %iret = load i64, ptr %iret.p
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %flags.p = getelementptr i8, ptr %env, i64 @EFLAGS@
  %flags = load i32, ptr %flags.p
  %rf = and i32 %flags, @RF@
  %set = icmp ne i32 %rf, 0
  %fresh = icmp eq i64 %iret, 1
  %shields = and i1 %set, %fresh
  %without = xor i32 %flags, %rf
  store i32 %without, ptr %flags.p
  %at = select i1 %shields, i64 %pc, i64 @NOWHERE@
  %at.p = getelementptr i64, ptr %u, i64 @RF_AT@
  store i64 %at, ptr %at.p
  %next = select i1 %shields, i64 2, i64 0
  store i64 %next, ptr %iret.p
  %insn.p = getelementptr i64, ptr %u, i64 @INSN_PC@
  store i64 @NOWHERE@, ptr %insn.p
  ret void
}

; -- sites and exceptions --------------------------------------------------------------------------

; CODE on one address: stop in front of the instruction, or pass it where SKIP says so. SKIP is set
; only for a run of that one instruction, which a store into its own block may begin twice.
define void @site(ptr %uc, i64 %pc, i32 %size, ptr %u) {
  %skip.p = getelementptr i64, ptr %u, i64 @SKIP@
  %skip = load i64, ptr %skip.p
  %passes = icmp eq i64 %skip, %pc
  br i1 %passes, label %out, label %halt
halt:
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %running = icmp ne i64 %pause, 0
  br i1 %running, label %stop, label %out
stop:
  call void @stop(ptr %uc, ptr %u, i64 @WHY_SITE@)
  br label %out
out:
  ret void
}

; CODE on an IRET: stop like at any site if somebody wants to see it. Else BLOCK is to look at the RF
; that it loads, and RFLAGS is kept, because a hook in front of a faulting instruction costs Unicorn
; the right flags.
define void @iret(ptr %uc, i64 %pc, i32 %size, ptr %u) {
  %stops.p = getelementptr i64, ptr %u, i64 @STOPS_AT_IRET@
  %stops = load i64, ptr %stops.p
  %seen = icmp ne i64 %stops, 0
  br i1 %seen, label %stop, label %pass
stop:
  call void @site(ptr %uc, i64 %pc, i32 %size, ptr %u)
  ret void
pass:
  call void @keep_flags(ptr %uc, i64 %pc, ptr %u)
  %iret.p = getelementptr i64, ptr %u, i64 @IRET@
  store i64 1, ptr %iret.p
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %running = icmp ne i64 %pause, 0
  br i1 %running, label %soon, label %out
soon:
  store i64 1, ptr %pause.p
  br label %out
out:
  ret void
}

; Keep RFLAGS as they are in front of the instruction at %pc.
define internal void @keep_flags(ptr %uc, i64 %pc, ptr %u) {
  %pc.p = getelementptr i64, ptr %u, i64 @INSN_PC@
  store i64 %pc, ptr %pc.p
  %flags.p = getelementptr i64, ptr %u, i64 @INSN_FLAGS@
  call i32 @uc_reg_read(ptr %uc, i32 @RFLAGS_ID@, ptr %flags.p)
  ret void
}

; INTR: an exception or INT n; Unicorn delivers nothing by itself. The condition codes are computed
; here, where it is cheap: whoever looks next wants them.
define void @intr(ptr %uc, i32 %number, ptr %u) {
  %vector = zext i32 %number to i64
  %vector.p = getelementptr i64, ptr %u, i64 @VECTOR@
  store i64 %vector, ptr %vector.p
  %flags.p = getelementptr i64, ptr %u, i64 @FLAGS@
  call i32 @uc_reg_read(ptr %uc, i32 @RFLAGS_ID@, ptr %flags.p)
  %flags = load i64, ptr %flags.p
  %codes = and i64 %flags, @CONDITION_CODES@
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %cc.src = getelementptr i8, ptr %env, i64 @CC_SRC@
  store i64 %codes, ptr %cc.src
  %cc.op = getelementptr i8, ptr %env, i64 @CC_OP@
  store i32 1, ptr %cc.op
  call void @stop(ptr %uc, ptr %u, i64 @WHY_INTR@)
  ret void
}

; -- memory ----------------------------------------------------------------------------------------

; MEM_READ and MEM_WRITE near watched bytes: note the bits of each slot that this access touches. In a
; run of several instructions stop at once: the engine is then in front of this instruction, with its
; store made; it is logged, so that Python can take it back and run the instruction alone.
define void @memory(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %u) {
  %size = zext i32 %size32 to i64
  %behind = add i64 %address, %size
  %page = and i64 %address, -4096
  %writes = icmp eq i32 %kind, @MEM_WRITE@
  br label %loop
loop:
  %slot = phi i64 [ 0, %0 ], [ %next, %loop ]
  %bits = phi i64 [ 0, %0 ], [ %more, %loop ]
  %five = mul i64 %slot, 5
  %at = add i64 %five, @WATCH@
  %first.p = getelementptr i64, ptr %u, i64 %at
  %first = load i64, ptr %first.p
  %last.p = getelementptr i64, ptr %first.p, i64 1
  %last = load i64, ptr %last.p
  %reads.p = getelementptr i64, ptr %first.p, i64 2
  %reads = load i64, ptr %reads.p
  %page.p = getelementptr i64, ptr %first.p, i64 3
  %watched.page = load i64, ptr %page.p
  %in.page = icmp eq i64 %page, %watched.page
  %on.reads = icmp ne i64 %reads, 0
  %counts = or i1 %writes, %on.reads
  %reaches = icmp ult i64 %first, %behind
  %starts = icmp ule i64 %address, %last
  %overlaps = and i1 %reaches, %starts
  %near = and i1 %overlaps, %in.page
  %hits = and i1 %near, %counts
  %bits.p = getelementptr i64, ptr %first.p, i64 4
  %its = load i64, ptr %bits.p
  %touched = select i1 %hits, i64 %its, i64 0
  %more = or i64 %bits, %touched
  %next = add i64 %slot, 1
  %again = icmp ult i64 %next, @WATCH_SLOTS@
  br i1 %again, label %loop, label %out
out:
  %hit.p = getelementptr i64, ptr %u, i64 @WATCH_HIT@
  %hit = load i64, ptr %hit.p
  %all = or i64 %hit, %more
  store i64 %all, ptr %hit.p
  %stops.p = getelementptr i64, ptr %u, i64 @WATCH_STOPS@
  %stops = load i64, ptr %stops.p
  %stopping = icmp ne i64 %stops, 0
  %touches = icmp ne i64 %more, 0
  %now = and i1 %stopping, %touches
  br i1 %now, label %stop, label %end
stop:
  call void @store(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %u)
  call void @stop(ptr %uc, ptr %u, i64 @WHY_WATCH@)
  br label %end
end:
  ret void
}

; MEM_*_UNMAPPED: an access outside RAM: remember it, refuse it.
define zeroext i1 @unmapped(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %u) {
  %why.p = getelementptr i64, ptr %u, i64 @WHY@
  %why = load i64, ptr %why.p
  %more = or i64 %why, @WHY_BAD_MEMORY@
  store i64 %more, ptr %why.p
  %address.p = getelementptr i64, ptr %u, i64 @BAD_ADDRESS@
  store i64 %address, ptr %address.p
  %size = zext i32 %size32 to i64
  %size.p = getelementptr i64, ptr %u, i64 @BAD_SIZE@
  store i64 %size, ptr %size.p
  ret i1 false
}

; MEM_READ and MEM_WRITE of an instruction that may be taken back: log
; (address, kind << 32 | size, value, the eight bytes there before).
define void @store(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %u) {
  %used.p = getelementptr i64, ptr %u, i64 @MEMLOG_USED@
  %used = load i64, ptr %used.p
  %room = icmp ult i64 %used, @MEMLOG_ENTRIES@
  br i1 %room, label %note, label %out
note:
  %log.p = getelementptr i64, ptr %u, i64 @MEMLOG@
  %log = load ptr, ptr %log.p
  %entry = getelementptr {i64, i64, i64, i64}, ptr %log, i64 %used
  store i64 %address, ptr %entry
  %size = zext i32 %size32 to i64
  %wide = zext i32 %kind to i64
  %high = shl i64 %wide, 32
  %both = or i64 %high, %size
  %both.p = getelementptr i64, ptr %entry, i64 1
  store i64 %both, ptr %both.p
  %value.p = getelementptr i64, ptr %entry, i64 2
  store i64 %value, ptr %value.p
  %more = add i64 %used, 1
  store i64 %more, ptr %used.p
  %end = add i64 %address, 8
  %ram.size.p = getelementptr i64, ptr %u, i64 @RAM_SIZE@
  %ram.size = load i64, ptr %ram.size.p
  %in.ram = icmp ule i64 %end, %ram.size
  br i1 %in.ram, label %keep, label %out
keep:
  %ram.p = getelementptr i64, ptr %u, i64 @RAM@
  %ram = load ptr, ptr %ram.p
  %there = getelementptr i8, ptr %ram, i64 %address
  %old = load i64, ptr %there, align 1
  %old.p = getelementptr i64, ptr %entry, i64 3
  store i64 %old, ptr %old.p
  br label %out
out:
  ret void
}

; -- a full recording ------------------------------------------------------------------------------

; RFLAGS in front of an instruction that has a CODE hook. Inside a block Unicorn has computed them for
; the hook, but for DF; in front of a block's first instruction it has not.
define internal i32 @rflags_at(ptr %uc, i64 %pc, ptr %u, ptr %env) {
  %first.p = getelementptr i64, ptr %u, i64 @LAST_PC@
  %first = load i64, ptr %first.p
  %begins = icmp eq i64 %first, %pc
  br i1 %begins, label %compute, label %inside
compute:
  %flags.p = getelementptr i64, ptr %u, i64 @FLAGS@
  call i32 @uc_reg_read(ptr %uc, i32 @RFLAGS_ID@, ptr %flags.p)
  %computed = load i64, ptr %flags.p
  %narrow = trunc i64 %computed to i32
  %whole = or i32 %narrow, 2
  ret i32 %whole
inside:
  %eflags.p = getelementptr i8, ptr %env, i64 @EFLAGS@
  %eflags = load i32, ptr %eflags.p
  %df.p = getelementptr i8, ptr %env, i64 @DF@
  %df = load i32, ptr %df.p
  %direction = and i32 %df, 1024
  %others = and i32 %eflags, -1025
  %both = or i32 %others, %direction
  %rflags = or i32 %both, 2
  ret i32 %rflags
}

; CODE in front of every instruction: which registers have changed since the last one, and to what.
; The flags are kept for a fault of this instruction, as in @keep_flags: here they are computed.
define void @trace(ptr %uc, i64 %pc, i32 %size, ptr %u) {
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  %pause = load i64, ptr %pause.p
  %stopping = icmp eq i64 %pause, 0
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  %last = load i64, ptr %last.p
  %counted = and i64 %last, 65535
  %closes = icmp eq i64 %counted, 0
  %not.now = or i1 %stopping, %closes
  br i1 %not.now, label %out, label %again
again:
  %again.p = getelementptr i64, ptr %u, i64 @TRACE_AGAIN@
  %again.old = load i64, ptr %again.p
  store i64 0, ptr %again.p
  %rerun = icmp ne i64 %again.old, 0
  br i1 %rerun, label %rewrite, label %note
rewrite:
  %kept.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES_AT_HEAD@
  %kept = load i64, ptr %kept.p
  %writes.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES_USED@
  store i64 %kept, ptr %writes.p
  ret void
note:
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %now = load <16 x i64>, ptr %env, align 8
  %regs = getelementptr i64, ptr %u, i64 @TRACE_REGS@
  %then = load <16 x i64>, ptr %regs, align 8
  %differ = icmp ne <16 x i64> %now, %then
  %mask = bitcast <16 x i1> %differ to i16
  store <16 x i64> %now, ptr %regs, align 8
  %rflags = call i32 @rflags_at(ptr %uc, i64 %pc, ptr %u, ptr %env)
  %rows.p = getelementptr i64, ptr %u, i64 @TRACE_ROWS@
  %rows = load i64, ptr %rows.p
  %flags.p = getelementptr i64, ptr %u, i64 @TRACE_FLAGS@
  %flags = load ptr, ptr %flags.p
  %flag.p = getelementptr i32, ptr %flags, i64 %rows
  store i32 %rflags, ptr %flag.p
  %insn.pc.p = getelementptr i64, ptr %u, i64 @INSN_PC@
  store i64 %pc, ptr %insn.pc.p
  %insn.flags.p = getelementptr i64, ptr %u, i64 @INSN_FLAGS@
  %wide.flags = zext i32 %rflags to i64
  store i64 %wide.flags, ptr %insn.flags.p
  %heads.p = getelementptr i64, ptr %u, i64 @TRACE_HEADS@
  %heads = load ptr, ptr %heads.p
  %head.p = getelementptr i64, ptr %heads, i64 %rows
  %wide = zext i16 %mask to i64
  %high = shl i64 %wide, 48
  %low = and i64 %pc, 281474976710655
  %head = or i64 %high, %low
  store i64 %head, ptr %head.p
  %more = add i64 %rows, 1
  store i64 %more, ptr %rows.p
  %wrote.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES_USED@
  %wrote = load i64, ptr %wrote.p
  %at.head.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES_AT_HEAD@
  store i64 %wrote, ptr %at.head.p
  %any = icmp ne i16 %mask, 0
  br i1 %any, label %begin, label %out
begin:
  %values.p = getelementptr i64, ptr %u, i64 @TRACE_VALUES@
  %values = load ptr, ptr %values.p
  %used.p = getelementptr i64, ptr %u, i64 @TRACE_VALUES_USED@
  %used = load i64, ptr %used.p
  br label %each
each:
  %left = phi i64 [ %wide, %begin ], [ %rest, %each ]
  %place = phi i64 [ %used, %begin ], [ %next, %each ]
  %number = call i64 @llvm.cttz.i64(i64 %left, i1 true)
  %reg.p = getelementptr i64, ptr %env, i64 %number
  %value = load i64, ptr %reg.p
  %value.p = getelementptr i64, ptr %values, i64 %place
  store i64 %value, ptr %value.p
  %next = add i64 %place, 1
  %below = sub i64 %left, 1
  %rest = and i64 %left, %below
  %done = icmp eq i64 %rest, 0
  br i1 %done, label %end, label %each
end:
  store i64 %next, ptr %used.p
  br label %out
out:
  ret void
}

; MEM_WRITE of a recorded instruction: (row << 8 | bytes, address, old value, new value).
define void @trace_write(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %u) {
  %rows.p = getelementptr i64, ptr %u, i64 @TRACE_ROWS@
  %rows = load i64, ptr %rows.p
  %used.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES_USED@
  %used = load i64, ptr %used.p
  %any = icmp ne i64 %rows, 0
  %room = icmp ult i64 %used, @TRACE_WRITES_MOST@
  %noted = and i1 %any, %room
  br i1 %noted, label %note, label %out
note:
  %size = zext i32 %size32 to i64
  %row = sub i64 %rows, 1
  %row.high = shl i64 %row, 8
  %key = or i64 %row.high, %size
  %writes.p = getelementptr i64, ptr %u, i64 @TRACE_WRITES@
  %writes = load ptr, ptr %writes.p
  %entry = getelementptr {i64, i64, i64, i64}, ptr %writes, i64 %used
  store i64 %key, ptr %entry
  %address.p = getelementptr i64, ptr %entry, i64 1
  store i64 %address, ptr %address.p
  %bits = shl i64 %size, 3
  %unused = sub i64 64, %bits
  %ones = lshr i64 -1, %unused
  %new = and i64 %value, %ones
  %new.p = getelementptr i64, ptr %entry, i64 3
  store i64 %new, ptr %new.p
  %more = add i64 %used, 1
  store i64 %more, ptr %used.p
  %end = add i64 %address, 8
  %ram.size.p = getelementptr i64, ptr %u, i64 @RAM_SIZE@
  %ram.size = load i64, ptr %ram.size.p
  %in.ram = icmp ule i64 %end, %ram.size
  br i1 %in.ram, label %read, label %near.end
read:
  %ram.p = getelementptr i64, ptr %u, i64 @RAM@
  %ram = load ptr, ptr %ram.p
  %there = getelementptr i8, ptr %ram, i64 %address
  %word = load i64, ptr %there, align 1
  br label %keep
near.end:
  %last.word = sub i64 %ram.size, 8
  %ram2.p = getelementptr i64, ptr %u, i64 @RAM@
  %ram2 = load ptr, ptr %ram2.p
  %there2 = getelementptr i8, ptr %ram2, i64 %last.word
  %word2 = load i64, ptr %there2, align 1
  %beyond = sub i64 %end, %ram.size
  %beyond.bits = shl i64 %beyond, 3
  %moved = lshr i64 %word2, %beyond.bits
  br label %keep
keep:
  %before = phi i64 [ %word, %read ], [ %moved, %near.end ]
  %old = and i64 %before, %ones
  %old.p = getelementptr i64, ptr %entry, i64 2
  store i64 %old, ptr %old.p
  br label %out
out:
  ret void
}

; MEM_WRITE to bytes whose last writer is looked for: the clock behind the block that wrote them last,
; and that block. The access may begin in front of them.
define void @wrote(ptr %uc, i32 %kind, i64 %address, i32 %size32, i64 %value, ptr %u) {
  %size = zext i32 %size32 to i64
  %behind = add i64 %address, %size
  %first.p = getelementptr i64, ptr %u, i64 @WROTE_FIRST@
  %first = load i64, ptr %first.p
  %end.p = getelementptr i64, ptr %u, i64 @WROTE_END@
  %end = load i64, ptr %end.p
  %reaches = icmp ult i64 %first, %behind
  %starts = icmp ult i64 %address, %end
  %hits = and i1 %reaches, %starts
  br i1 %hits, label %note, label %out
note:
  %insns.p = getelementptr i64, ptr %u, i64 @INSNS@
  %insns = load i64, ptr %insns.p
  %clock.p = getelementptr i64, ptr %u, i64 @WROTE_CLOCK@
  store i64 %insns, ptr %clock.p
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  %last = load i64, ptr %last.p
  %count = and i64 %last, 65535
  %count.p = getelementptr i64, ptr %u, i64 @WROTE_COUNT@
  store i64 %count, ptr %count.p
  br label %out
out:
  ret void
}

; -- ports -----------------------------------------------------------------------------------------

; IN and OUT run only when the engine tries one instruction alone: note port and size; IN answers
; what the engine has put into IO_VALUE.
define i32 @port_in(ptr %uc, i32 %port, i32 %size, ptr %u) {
  call void @port_used(i32 %port, i32 %size, ptr %u)
  %value.p = getelementptr i64, ptr %u, i64 @IO_VALUE@
  %value = load i64, ptr %value.p
  %answer = trunc i64 %value to i32
  ret i32 %answer
}

define void @port_out(ptr %uc, i32 %port, i32 %size, i32 %data, ptr %u) {
  call void @port_used(i32 %port, i32 %size, ptr %u)
  %wide = zext i32 %data to i64
  %value.p = getelementptr i64, ptr %u, i64 @IO_VALUE@
  store i64 %wide, ptr %value.p
  ret void
}

define internal void @port_used(i32 %port, i32 %size, ptr %u) {
  %port64 = zext i32 %port to i64
  %port.p = getelementptr i64, ptr %u, i64 @IO_PORT@
  store i64 %port64, ptr %port.p
  %size64 = zext i32 %size to i64
  %size.p = getelementptr i64, ptr %u, i64 @IO_SIZE@
  store i64 %size64, ptr %size.p
  %count.p = getelementptr i64, ptr %u, i64 @IO_COUNT@
  %count = load i64, ptr %count.p
  %more = add i64 %count, 1
  store i64 %more, ptr %count.p
  ret void
}

; -- snapshots -------------------------------------------------------------------------------------

; The numbers of those of %count pages that differ between %ram and %shadow into %found; how many.
define i64 @changed_pages(ptr %ram, ptr %shadow, i64 %count, ptr %found) {
  br label %test
test:
  %page = phi i64 [ 0, %0 ], [ %next, %compare ]
  %used = phi i64 [ 0, %0 ], [ %more, %compare ]
  %left = icmp ult i64 %page, %count
  br i1 %left, label %compare, label %out
compare:
  %at = shl i64 %page, 12
  %now = getelementptr i8, ptr %ram, i64 %at
  %then = getelementptr i8, ptr %shadow, i64 %at
  %answer = call i32 @memcmp(ptr %now, ptr %then, i64 4096)
  %place = getelementptr i64, ptr %found, i64 %used
  store i64 %page, ptr %place
  %differs = icmp ne i32 %answer, 0
  %one = zext i1 %differs to i64
  %more = add i64 %used, %one
  %next = add i64 %page, 1
  br label %test
out:
  ret i64 %used
}
