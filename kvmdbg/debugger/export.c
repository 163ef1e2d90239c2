/*
 * @TITLE@
 *
 *     gcc -std=c11 -Wall -Wextra -o guest THIS_FILE.c && ./guest
 *
 * One virtual machine with one vCPU, made with the ioctls of linux/kvm.h and nothing else: RAM,
 * registers, KVM_SET_GUEST_DEBUG, then KVM_RUN again and again. Each exit is compared with the one
 * that @FORESEEN@
 * foresees. The exit status is 0 if all are as expected, 1 if one differs or the kernel refuses a
 * call, 77 if there is no /dev/kvm.
 *
 * Not part of it: MSRs but EFER, x87 and SSE registers (both are as after RESET), devices.
 * What IN and loads outside RAM read stands in the table of expected exits.
 *
@LISTING@
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef KVM_GUESTDBG_BLOCKIRQ
#define KVM_GUESTDBG_BLOCKIRQ 0x00100000
#endif

#define LONGEST 10 /* seconds for all of it; a guest may run on for ever */
#define NO_KVM 77

/* Guest RAM: one memory slot from guest-physical address 0. What is not named here is zero. */

#define RAM_SIZE @RAM_SIZE@

@RAM@

/* KVM_SET_SREGS, KVM_SET_REGS, KVM_SET_DEBUGREGS, in this order. */

static const struct kvm_sregs sregs = {
@SREGS@
};

static const struct kvm_regs regs = {
@REGS@
};

static const struct kvm_debugregs debugregs = { /* the guest's own */
@DEBUGREGS@
};

/* KVM_SET_VCPU_EVENTS: what waits for its delivery, if anything does. */

#define SET_VCPU_EVENTS @SET_EVENTS@

static const struct kvm_vcpu_events events = {
@EVENTS@
};

/* KVM_SET_GUEST_DEBUG, last: it looks at RIP. */

static const struct kvm_guest_debug debug = {
@DEBUG@
};

/* What KVM_RUN should come back with. */

struct seen {
    uint32_t reason;
    uint32_t exception; /* of KVM_EXIT_DEBUG: 1 is #DB, 3 is #BP */
    uint64_t pc;        /* of KVM_EXIT_DEBUG, linear; RIP of KVM_EXIT_HLT */
    uint64_t dr6;       /* of a #DB */
    uint64_t address;   /* port, or guest-physical address */
    uint32_t size;      /* bytes of data */
    uint32_t write;     /* OUT or store; otherwise data is what the guest reads */
    uint8_t data[8];
    const char *where;
};

static const struct seen expected[] = {
@EXPECTED@
};

#define EXITS (sizeof expected / sizeof expected[0])

static size_t number;
static int differences;

static void describe(char *text, size_t room, const struct seen *seen)
{
    char data[3 * sizeof seen->data + 1] = "";
    for (size_t i = 0; seen->write && i < seen->size && i < sizeof seen->data; i++)
        snprintf(data + 3 * i, 4, " %02x", seen->data[i]);
    switch (seen->reason) {
    case KVM_EXIT_DEBUG:
        if (seen->exception == 1)
            snprintf(text, room, "KVM_EXIT_DEBUG #DB, pc 0x%" PRIx64 ", dr6 0x%" PRIx64,
                     seen->pc, seen->dr6);
        else
            snprintf(text, room, "KVM_EXIT_DEBUG exception %u, pc 0x%" PRIx64,
                     seen->exception, seen->pc);
        break;
    case KVM_EXIT_IO:
        snprintf(text, room, "KVM_EXIT_IO %s port 0x%" PRIx64 ", %u byte(s)%s",
                 seen->write ? "out" : "in", seen->address, seen->size, data);
        break;
    case KVM_EXIT_MMIO:
        snprintf(text, room, "KVM_EXIT_MMIO %s 0x%" PRIx64 ", %u byte(s)%s",
                 seen->write ? "write" : "read", seen->address, seen->size, data);
        break;
    case KVM_EXIT_HLT:
        snprintf(text, room, "KVM_EXIT_HLT, rip 0x%" PRIx64, seen->pc);
        break;
    case KVM_EXIT_SHUTDOWN:
        snprintf(text, room, "KVM_EXIT_SHUTDOWN (a triple fault)");
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        snprintf(text, room, "KVM_EXIT_INTERNAL_ERROR");
        break;
    case KVM_EXIT_FAIL_ENTRY:
        snprintf(text, room, "KVM_EXIT_FAIL_ENTRY");
        break;
    case KVM_EXIT_INTR:
        snprintf(text, room, "no exit in %d seconds", LONGEST);
        break;
    default:
        snprintf(text, room, "exit reason %u", seen->reason);
    }
}

static void compare(const struct seen *got)
{
    char is[200], should[200];
    describe(is, sizeof is, got);
    describe(should, sizeof should, &expected[number]);
    if (strcmp(is, should) == 0) {
        printf("exit %zu: as expected: %s%s\n", number, is, expected[number].where);
    } else {
        printf("exit %zu: expected %s%s, got %s\n", number, should, expected[number].where, is);
        differences++;
    }
    number++;
}

static int call(int fd, unsigned long request, const char *name, const void *argument)
{
    int answer = ioctl(fd, request, argument);
    if (answer < 0) {
        printf("%s: %s\n", name, strerror(errno));
        exit(1);
    }
    return answer;
}

#define CALL(fd, request, argument) call(fd, request, #request, argument)

static uint8_t *make_ram(void)
{
    uint8_t *ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED) {
        printf("guest RAM: %s\n", strerror(errno));
        exit(1);
    }
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        memcpy(ram + runs[i].address, runs[i].bytes, runs[i].size);
    return ram;
}

static void set_cpuid(int kvm, int vcpu)
{
    enum { MOST = 256 };
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof *cpuid + MOST * sizeof(struct kvm_cpuid_entry2));
    if (cpuid == NULL)
        exit(1);
    cpuid->nent = MOST;
    CALL(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
    CALL(vcpu, KVM_SET_CPUID2, cpuid);
    free(cpuid);
}

static void do_nothing(int signal)
{
    (void)signal; /* it ends KVM_RUN with EINTR, and that is all that is wanted */
}

static void set_alarm(void)
{
    struct sigaction action = { .sa_handler = do_nothing };
    struct itimerval each = { .it_value.tv_sec = LONGEST, .it_interval.tv_sec = 1 };
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &each, NULL);
}

static void answer(uint8_t *data, const struct seen *got)
{
    const struct seen *known = &expected[number];
    int same = known->reason == got->reason && known->address == got->address && !known->write;
    for (size_t i = 0; i < got->size && i < sizeof known->data; i++)
        data[i] = same ? known->data[i] : 0xff;
}

/* A string instruction may bring several items at once; each counts as one exit. */
static void port_access(struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count && number < EXITS; i++, data += run->io.size) {
        struct seen got = { .reason = KVM_EXIT_IO, .address = run->io.port,
                            .size = run->io.size, .write = run->io.direction == KVM_EXIT_IO_OUT };
        if (got.write && got.size <= sizeof got.data)
            memcpy(got.data, data, got.size);
        else
            answer(data, &got);
        compare(&got);
    }
}

static void memory_access(struct kvm_run *run)
{
    struct seen got = { .reason = KVM_EXIT_MMIO, .address = run->mmio.phys_addr,
                        .size = run->mmio.len, .write = run->mmio.is_write };
    if (got.write)
        memcpy(got.data, run->mmio.data, sizeof got.data);
    else
        answer(run->mmio.data, &got);
    compare(&got);
}

static uint64_t rip(int vcpu)
{
    struct kvm_regs now = { 0 };
    CALL(vcpu, KVM_GET_REGS, &now);
    return now.rip;
}

/* One KVM_RUN; 0 if the guest cannot go on after it. */
static int enter(int vcpu, struct kvm_run *run)
{
    struct seen got = { .reason = KVM_EXIT_INTR };
    struct kvm_guest_debug again = debug;
    again.control &= ~(uint32_t)(KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP);
    if (debug.control & KVM_GUESTDBG_SINGLESTEP && number > 0)
        CALL(vcpu, KVM_SET_GUEST_DEBUG, &again); /* what KVM emulates may take TF away */
    if (ioctl(vcpu, KVM_RUN, 0) < 0 && errno != EINTR) {
        printf("KVM_RUN: %s\n", strerror(errno));
        exit(1);
    }
    if (run->exit_reason == KVM_EXIT_IO) {
        port_access(run);
        return 1;
    }
    if (run->exit_reason == KVM_EXIT_MMIO) {
        memory_access(run);
        return 1;
    }
    got.reason = run->exit_reason;
    if (got.reason == KVM_EXIT_DEBUG) {
        got.exception = run->debug.arch.exception;
        got.pc = run->debug.arch.pc;
        got.dr6 = run->debug.arch.dr6; /* dr7 is not compared: KVM's emulator does not write it */
    } else if (got.reason == KVM_EXIT_HLT) {
        got.pc = rip(vcpu);
    }
    compare(&got);
    return got.reason == KVM_EXIT_DEBUG || got.reason == KVM_EXIT_HLT;
}

static int make_vcpu(int kvm, struct kvm_run **run)
{
    int vm = CALL(kvm, KVM_CREATE_VM, NULL);
    struct kvm_userspace_memory_region region = {
        .slot = 0, .guest_phys_addr = 0, .memory_size = RAM_SIZE,
        .userspace_addr = (uint64_t)(uintptr_t)make_ram() };
    /* Three pages that Intel processors without "unrestricted guest" need for real mode. */
    CALL(vm, KVM_SET_TSS_ADDR, (const void *)(uintptr_t)0xfffbd000);
    CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
    int vcpu = CALL(vm, KVM_CREATE_VCPU, NULL);
    int size = CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
    *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (*run == MAP_FAILED) {
        printf("struct kvm_run: %s\n", strerror(errno));
        exit(1);
    }
    set_cpuid(kvm, vcpu);
    return vcpu;
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        printf("/dev/kvm: %s\n", strerror(errno));
        return NO_KVM;
    }
    struct kvm_run *run;
    int vcpu = make_vcpu(kvm, &run);
    CALL(vcpu, KVM_SET_SREGS, &sregs);
    CALL(vcpu, KVM_SET_REGS, &regs);
    CALL(vcpu, KVM_SET_DEBUGREGS, &debugregs);
    if (SET_VCPU_EVENTS)
        CALL(vcpu, KVM_SET_VCPU_EVENTS, &events);
    CALL(vcpu, KVM_SET_GUEST_DEBUG, &debug);
    set_alarm();
    while (number < EXITS && enter(vcpu, run))
        continue;
    if (number < EXITS) {
        printf("the guest cannot go on: %zu more expected\n", EXITS - number);
        differences++;
    }
    return differences ? 1 : 0;
}
