; One plain single-step of the host's, from the entry to the registers behind it: LLVM IR, compiled
; with native.ll. %s are the words of class Step in plain.py.
;
; It does what Core.enter(single=True) does before it starts the engine, and looks at what Vcpu.round
; would look at. @PLAIN@: it was a step and nothing else, RFLAGS are computed, and the registers lie
; ready. @OTHER@: the engine was started, and Python must see what came of it. @NOT_BEGUN@: nothing
; was done.

define i32 @step(ptr %s) {
  %uc = load ptr, ptr %s
  %u.p = getelementptr i64, ptr %s, i64 @STEP_WORDS@
  %u = load ptr, ptr %u.p
  %request.p = getelementptr i64, ptr %u, i64 @REQUEST@
  %request = load i64, ptr %request.p
  %requested = icmp ne i64 %request, 0
  %env.p = getelementptr i64, ptr %u, i64 @ENV@
  %env = load ptr, ptr %env.p
  %eflags.p = getelementptr i8, ptr %env, i64 @EFLAGS@
  %eflags.then = load i32, ptr %eflags.p
  %tf.then = and i32 %eflags.then, @TF@
  %free = icmp eq i32 %tf.then, 0
  %insns.p = getelementptr i64, ptr %u, i64 @INSNS@
  %before = load i64, ptr %insns.p
  %limit.p = getelementptr i64, ptr %u, i64 @LIMIT@
  %limit = load i64, ptr %limit.p
  %used.up = icmp uge i64 %before, %limit
  %no.1 = or i1 %requested, %free
  %no = or i1 %no.1, %used.up
  br i1 %no, label %not.begun, label %begin
not.begun:
  ret i32 @NOT_BEGUN@
begin:
  %before.p = getelementptr i64, ptr %s, i64 @STEP_BEFORE@
  store i64 %before, ptr %before.p
  %kept.p = getelementptr i64, ptr %s, i64 @STEP_LIMIT@
  store i64 %limit, ptr %kept.p
  %then = add i64 %before, 1
  store i64 %then, ptr %limit.p
  %why.p = getelementptr i64, ptr %u, i64 @WHY@
  store i64 0, ptr %why.p
  %hit.p = getelementptr i64, ptr %u, i64 @WATCH_HIT@
  store i64 0, ptr %hit.p
  %last.pc.p = getelementptr i64, ptr %u, i64 @LAST_PC@
  store i64 0, ptr %last.pc.p
  %last.p = getelementptr i64, ptr %u, i64 @LAST@
  store i64 0, ptr %last.p
  %pause.p = getelementptr i64, ptr %u, i64 @PAUSE@
  store i64 %then, ptr %pause.p
  %iret.p = getelementptr i64, ptr %u, i64 @IRET@
  store i64 0, ptr %iret.p
  %rf.at.p = getelementptr i64, ptr %u, i64 @RF_AT@
  store i64 @NOWHERE@, ptr %rf.at.p
  %insn.pc.p = getelementptr i64, ptr %u, i64 @INSN_PC@
  store i64 @NOWHERE@, ptr %insn.pc.p
  %tracks.p = getelementptr i64, ptr %u, i64 @TRACKS_SMC@
  store i64 0, ptr %tracks.p
  %stops.p = getelementptr i64, ptr %u, i64 @WATCH_STOPS@
  store i64 0, ptr %stops.p
  %used.p = getelementptr i64, ptr %u, i64 @MEMLOG_USED@
  store i64 0, ptr %used.p
  %old.p = getelementptr i8, ptr %env, i64 @OLD_EXCEPTION@
  store i32 -1, ptr %old.p
  %rsp.p = getelementptr i64, ptr %env, i64 4
  %rsp = load i64, ptr %rsp.p
  %rip.p = getelementptr i8, ptr %env, i64 @RIP@
  %rip = load i64, ptr %rip.p
  %hflags.p = getelementptr i8, ptr %env, i64 @HFLAGS@
  %hflags.then = load i32, ptr %hflags.p
  %bit.p = getelementptr i64, ptr %s, i64 @STEP_BIT@
  %bit.64 = load i64, ptr %bit.p
  %bit = trunc i64 %bit.64 to i32
  %marked = or i32 %hflags.then, %bit
  store i32 %marked, ptr %hflags.p
  %error = call i32 @uc_emu_start(ptr %uc, i64 %rip, i64 0, i64 0, i64 0)
  %error.64 = zext i32 %error to i64
  %error.p = getelementptr i64, ptr %s, i64 @STEP_ERROR@
  store i64 %error.64, ptr %error.p

  %why = load i64, ptr %why.p
  %interrupt = icmp eq i64 %why, @WHY_INTR@
  %vector.p = getelementptr i64, ptr %u, i64 @VECTOR@
  %vector = load i64, ptr %vector.p
  %debug = icmp eq i64 %vector, 1
  %ok.1 = and i1 %interrupt, %debug
  %hit = load i64, ptr %hit.p
  %no.hit = icmp eq i64 %hit, 0
  %ok.2 = and i1 %ok.1, %no.hit
  %is.int.p = getelementptr i8, ptr %env, i64 @IS_INT@
  %is.int = load i32, ptr %is.int.p
  %trap = icmp eq i32 %is.int, 0
  %ok.3 = and i1 %ok.2, %trap
  %dr7.p = getelementptr i8, ptr %env, i64 @DR7@
  %dr7 = load i32, ptr %dr7.p
  %no.switch = icmp eq i32 %dr7, @DR7_CANARY@
  %ok.4 = and i1 %ok.3, %no.switch
  %hflags.now = load i32, ptr %hflags.p
  %bit.now = and i32 %hflags.now, %bit
  %bit.stayed = icmp eq i32 %bit.now, %bit
  %hflags = xor i32 %hflags.now, %bit
  %inhibits = and i32 %hflags, @HF_INHIBIT_IRQ@
  %no.shadow = icmp eq i32 %inhibits, 0
  %ok.5 = and i1 %ok.4, %no.shadow
  %eflags = load i32, ptr %eflags.p
  %rf = and i32 %eflags, @RF@
  %no.rf = icmp eq i32 %rf, 0
  %ok.6 = and i1 %ok.5, %no.rf
  %insns = load i64, ptr %insns.p
  %one = icmp eq i64 %insns, %then
  %ok.7 = and i1 %ok.6, %one
  %ok.8 = and i1 %ok.7, %bit.stayed
  ; What leaves RSP alone was no PUSHF; of the others Python knows the addresses.
  %rsp.now = load i64, ptr %rsp.p
  %no.push = icmp eq i64 %rsp, %rsp.now
  %moved = select i1 %no.push, i32 @PLAIN@, i32 @STACKED@
  br i1 %ok.8, label %plain, label %other
other:
  ret i32 @OTHER@
plain:
  store i32 %hflags, ptr %hflags.p
  store i64 %limit, ptr %limit.p
  %rax = load i64, ptr %env
  %rax.p = getelementptr i64, ptr %s, i64 @STEP_REGS@
  store i64 %rax, ptr %rax.p
  %rcx.e = getelementptr i64, ptr %env, i64 1
  %rcx = load i64, ptr %rcx.e
  %rcx.p = getelementptr i64, ptr %rax.p, i64 2
  store i64 %rcx, ptr %rcx.p
  %rdx.e = getelementptr i64, ptr %env, i64 2
  %rdx = load i64, ptr %rdx.e
  %rdx.p = getelementptr i64, ptr %rax.p, i64 3
  store i64 %rdx, ptr %rdx.p
  %rbx.e = getelementptr i64, ptr %env, i64 3
  %rbx = load i64, ptr %rbx.e
  %rbx.p = getelementptr i64, ptr %rax.p, i64 1
  store i64 %rbx, ptr %rbx.p
  %rsp.o = getelementptr i64, ptr %rax.p, i64 6
  store i64 %rsp.now, ptr %rsp.o
  %rbp.e = getelementptr i64, ptr %env, i64 5
  %rbp = load i64, ptr %rbp.e
  %rbp.p = getelementptr i64, ptr %rax.p, i64 7
  store i64 %rbp, ptr %rbp.p
  %rsi.e = getelementptr i64, ptr %env, i64 6
  %rsi.p = getelementptr i64, ptr %rax.p, i64 4
  call void @llvm.memcpy.p0.p0.i64(ptr %rsi.p, ptr %rsi.e, i64 16, i1 false)
  %r8.e = getelementptr i64, ptr %env, i64 8
  %r8.p = getelementptr i64, ptr %rax.p, i64 8
  call void @llvm.memcpy.p0.p0.i64(ptr %r8.p, ptr %r8.e, i64 64, i1 false)
  %rip.now = load i64, ptr %rip.p
  %rip.o = getelementptr i64, ptr %rax.p, i64 16
  store i64 %rip.now, ptr %rip.o
  ; RFLAGS as KVM_GET_REGS shows them while the host steps; INTR has put the condition codes there.
  %cc.src.p = getelementptr i8, ptr %env, i64 @CC_SRC@
  %cc.src = load i64, ptr %cc.src.p
  %codes = and i64 %cc.src, @CONDITION_CODES@
  %df.p = getelementptr i8, ptr %env, i64 @DF@
  %df = load i32, ptr %df.p
  %direction = and i32 %df, @DF_MASK@
  %rest = and i32 %eflags, @OTHER_FLAGS@
  %most = or i32 %rest, %direction
  %most.64 = zext i32 %most to i64
  %all = or i64 %most.64, %codes
  %rflags = or i64 %all, 2
  %rflags.o = getelementptr i64, ptr %rax.p, i64 17
  store i64 %rflags, ptr %rflags.o
  ; The linear address of CS:RIP has 32 bits outside 64-bit mode.
  %base.p = getelementptr i8, ptr %env, i64 @CS_BASE@
  %base = load i64, ptr %base.p
  %sum = add i64 %rip.now, %base
  %long = and i32 %hflags, @HF_CS64@
  %is.long = icmp ne i32 %long, 0
  %low = and i64 %sum, 4294967295
  %pc = select i1 %is.long, i64 %sum, i64 %low
  %pc.p = getelementptr i64, ptr %s, i64 @STEP_PC@
  store i64 %pc, ptr %pc.p
  ret i32 %moved
}

declare i32 @uc_emu_start(ptr, i64, i64, i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
