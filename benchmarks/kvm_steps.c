/*
 * The peer of benchmarks/kvm.py: single steps over /dev/kvm with nothing in between, in C.
 *
 * One vCPU in long mode runs `again: inc rax; jmp again`. Each turn is KVM_RUN under
 * KVM_GUESTDBG_SINGLESTEP, and all general registers from kvm_run's sync area. Prints nanoseconds
 * per step. Exits with 77 where /dev/kvm cannot do that.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { RAM = 0x200000, CODE = 0x8000, PML4 = 0x2000, PDPT = 0x3000, PD = 0x4000 };

static int refuse(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(77);
}

static void put_entry(uint8_t *ram, unsigned table, uint64_t entry)
{
    memcpy(ram + table, &entry, sizeof entry);
}

static void set_long_mode(int vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_segment code = {.limit = 0xFFFFFFFF, .selector = 8, .type = 11, .present = 1,
                               .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {.limit = 0xFFFFFFFF, .selector = 16, .type = 3, .present = 1,
                               .s = 1, .db = 1, .g = 1};

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
        refuse("KVM_GET_SREGS");
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 = 0x80050033;
    sregs.cr3 = PML4;
    sregs.cr4 = 0x20;
    sregs.efer = 0x500;
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs))
        refuse("KVM_SET_SREGS");
}

int main(int argc, char **argv)
{
    static const uint8_t code[] = {0x48, 0xFF, 0xC0, 0xEB, 0xFB};
    long steps = argc > 1 ? atol(argv[1]) : 20000;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    uint8_t *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {.memory_size = RAM, .userspace_addr = (uintptr_t)ram};
    struct kvm_guest_debug debug = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
    struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rsp = 0x7000};
    struct timespec began, ended;
    uint64_t sum = 0;

    if (vm < 0 || ram == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
        refuse("/dev/kvm cannot be used here");
    if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) <= 0)
        refuse("no KVM_CAP_SYNC_REGS");
    memcpy(ram + CODE, code, sizeof code);
    put_entry(ram, PML4, PDPT | 3);
    put_entry(ram, PDPT, PD | 3);
    put_entry(ram, PD, 0x83);

    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

    set_long_mode(vcpu);
    if (run == MAP_FAILED || ioctl(vcpu, KVM_SET_REGS, &regs) || ioctl(vcpu, KVM_SET_GUEST_DEBUG, &debug))
        refuse("the vCPU cannot be set up");
    run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (long step = 0; step < steps; step++) {
        if (ioctl(vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_DEBUG)
            refuse("single-step does not work here");
        sum += run->s.regs.regs.rax + run->s.regs.regs.rip;
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (ended.tv_sec - began.tv_sec) + (ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("%.1f\n", seconds * 1e9 / steps);
    return sum == 0;
}
