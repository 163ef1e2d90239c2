"""Words that people mean when they mistype: mnemonics, registers, other assemblers' words."""

from __future__ import annotations

_MNEMONICS = """
aaa aad aam aas adc add and bound bsf bsr bswap bt btc btr bts call cbw cdq cdqe clc cld cli
clts cmc cmova cmovae cmovb cmovbe cmove cmovg cmovge cmovl cmovle cmovne cmovns cmovs cmp
cmpsb cmpsd cmpsq cmpsw cmpxchg cmpxchg8b cpuid cqo cwd cwde daa das dec div endbr64 enter hlt
idiv imul in inc insb insd insw int int1 int3 into invd invlpg iret iretd iretq ja jae jb jbe
jc jcxz je jecxz jg jge jl jle jmp jna jnae jnb jnbe jnc jne jng jnge jnl jnle jno jnp jns jnz
jo jp jpe jpo jrcxz js jz lahf lar lds lea leave les lfence lfs lgdt lgs lidt ljmp lldt lmsw
lock lodsb lodsd lodsq lodsw loop loope loopne loopnz loopz lsl lss ltr mfence mov movabs movsb
movsd movsq movsw movsx movsxd movzx mul neg nop not or out outsb outsd outsw pause pop popa
popad popf popfd popfq push pusha pushad pushf pushfd pushfq rcl rcr rdmsr rdpmc rdtsc rdtscp
rep repe repne repnz repz ret retf retfq rol ror sahf sal sar sbb scasb scasd scasq scasw seta
setae setb setbe setc sete setg setge setl setle setnc setne setns setnz sets setz sfence sgdt
shl shld shr shrd sidt sldt smsw stc std sti stosb stosd stosq stosw str sub swapgs syscall
sysenter sysexit sysret test ud2 verr verw vmcall wbinvd wrmsr xadd xchg xgetbv xlatb xor xsetbv
"""

_REGISTERS = """
al ah ax eax rax bl bh bx ebx rbx cl ch cx ecx rcx dl dh dx edx rdx si sil esi rsi di dil edi
rdi bp bpl ebp rbp sp spl esp rsp rip r8 r9 r10 r11 r12 r13 r14 r15 r8d r9d r10d r11d r12d r13d
r14d r15d cs ds es fs gs ss cr0 cr2 cr3 cr4 cr8 dr0 dr1 dr2 dr3 dr6 dr7
"""

_OPERATORS = "and or xor not shl shr mod eq ne lt le gt ge offset ptr rel"

MNEMONICS = frozenset(_MNEMONICS.split())
REGISTERS = frozenset(_REGISTERS.split())
OPERATORS = frozenset(_OPERATORS.split())
"""Words that LLVM's Intel expressions take for themselves."""

_NASM = 'this is NASM\'s; use syntax="nasm"'

DIRECTIVE_HINTS = {
    "proc": "MASM procedures are not known; write a label",
    "endp": "MASM procedures are not known; write a label",
    "assume": "leave it out: MASM's segments do not exist here",
    "default": 'write [rip + name], or use syntax="nasm"',
    "struc": _NASM,
    "istruc": _NASM,
    "incbin": 'write .incbin "file"',
    "include": 'write .include "file"',
    "dt": "write .tfloat or .byte",
    "end": "leave it out: the text ends where it ends",
}
