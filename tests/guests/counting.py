"""Two guests that several tests let run: a short one that prints, a long one that adds."""

LOOP = """
start:  mov ecx, 3
loop:   inc dword ptr [counter]
        mov al, 0x41
        out 0xe9, al
        dec ecx
        jnz loop
done:   hlt
        .align 8
counter: .long 5
"""

LONG = """
start:  mov ecx, 40000000
loop:   add rax, rcx
        dec ecx
        jnz loop
        hlt
"""
