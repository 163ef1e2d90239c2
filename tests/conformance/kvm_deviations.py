"""Which behaviours of KVM a conformance test needs to show its row there, as data.

Each behaviour is the name of a probe: one of ``kvmdbg.engines.probes`` (``kvmdbg probe`` shows them
all) or of kvm_probes.py. Where the probe finds the behaviour otherwise, the tests beside it are
skipped and say so; where it finds it as it should be, they run and must pass. So nothing here is
about one host, although the facts are what software KVM (Linux 6.18, no VMX, no SVM) was seen to
do. Must not know: how anything is probed or skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple


class Need(NamedTuple):
    """Tests that need a behaviour: globs of names without ``test_``, separated by blanks.

    Behind a colon stands a glob of the parameters' id, for a part of the test.

    The probe runs in the mode that the test runs in: its parameter ``mode`` or ``apic``, or long.
    ``mode`` names another one, and ``cpl3`` is for tests whose guest runs at CPL 3, ``page`` for
    those that reach the APIC by its page and not by its MSRs. ``fact`` is what software KVM does
    instead; with ``hardware`` it does as the reference, and KVM on VMX or SVM does not.
    """

    behaviour: str
    fact: str
    tests: str
    mode: str = ""
    cpl3: bool = False
    page: bool = False
    hardware: bool = False


_EMULATION = "KVM_EXIT_INTERNAL_ERROR: its emulator has no such instruction at CPL 0"
_STEPS_INTO = "the step stops inside the handler, with the host's TF in the frame"

NEEDS: tuple[Need, ...] = (
    # -- INT3, INT n, ICEBP ------------------------------------------------------------------------
    Need(
        "INT3 to the host",
        "the guest's vector 3 in real mode; elsewhere an INTERNAL_ERROR, which the engine reads",
        """act_1_* use_sw_bp_stops_at_the_int3_itself running_again_at_the_int3_stops_there_again
        a_prefixed_int3_stops_at_its_first_prefix a_planted_int3_can_be_stepped_over_and_hits_later
        a_bp_exit_after_a_db_exit_still_says_exception_and_pc
        a_step_onto_an_int3_stops_before_and_then_at_it *given_back*
        inject_bp_at_an_int3_returns_behind_it *_bp_given_back_*
        inject_bp_after_a_patch_was_taken_away_returns_behind_where_it_was""",
    ),
    Need(
        "INT3 to the host",
        "the guest's vector 3",
        "the_pc_of_a_bp_exit_is_linear_and_rip_is_the_offset",
        mode="real",
    ),
    Need(
        "INT3 to the host",
        "the guest's vector 3 or 6",
        """use_sw_bp_*_user_code an_int3_of_user_code_*
        the_host_takes_user_int3_before_the_gate_is_looked_at
        user_int3_given_back_meets_the_gate_as_if_never_taken""",
        cpl3=True,
    ),
    Need(
        "prefixed INT3 to the host",
        "the guest's vector 3 in real mode",
        "a_prefixed_int3_stops_at_its_first_prefix *prefixed_int3_given_back*",
    ),
    Need(
        "INT3 to the guest",
        _EMULATION,
        """int3_goes_to_the_guest_without_use_sw_bp int_3_by_two_bytes_is_never_a_debug_exit
        without_debugging_int3_enters_the_guests_handler enable_alone_leaves_int3_to_the_guest
        use_hw_bp_alone_leaves_int3_to_the_guest int_3_in_two_bytes_is_the_guests_*
        the_guests_handler_of_a_prefixed_int3_returns_behind_it int3_behind_a_watched_mov_ss_*
        the_db_of_a_watched_mov_ss_interrupts_the_int3_* the_flags_that_a_trap_pushes_have_no_rf
        a_handler_that_leaves_without_iret_leaves_the_step_behind
        the_handlers_iret_ends_the_step_also_when_it_loads_another_rsp""",
    ),
    Need(
        "INT3 to the guest",
        "#UD, or INTERNAL_ERROR inside the handler",
        """without_*_user_code_* a_step_over_int3_of_user_code_* int_3_in_two_bytes_of_user_code_*
        without_the_host_the_gate_refuses_user_int3""",
        cpl3=True,
    ),
    Need(
        "a gate keeps CPL 3 from INT3",
        "#UD, or INTERNAL_ERROR",
        """int_3_in_two_bytes_of_user_code_is_refused_* without_the_host_the_gate_refuses_user_int3
        user_int3_given_back_meets_the_gate_as_if_never_taken""",
        cpl3=True,
    ),
    Need(
        "INJECT_BP gives an INT3 back",
        "the injected #BP returns to the INT3, not behind it",
        """*given_back* inject_bp_at_an_int3_returns_behind_it *_bp_given_back_*
        inject_bp_after_a_patch_was_taken_away_returns_behind_where_it_was""",
    ),
    Need(
        "INJECT_BP gives a prefixed INT3 back",
        "it returns into the instruction",
        "*prefixed_int3_given_back*",
    ),
    Need(
        "INJECT_BP gives an INT3 back that was removed",
        "it returns to the place of the INT3, not behind it",
        "inject_bp_after_a_patch_was_taken_away_returns_behind_where_it_was",
    ),
    Need(
        "HLT at the start of a handler under USE_SW_BP",
        "in real mode the engine steps, and a step executes a handler's first instruction too",
        """*given_back* inject_bp_at_an_int3_returns_behind_it
        the_guests_general_detect_enters_its_handler_*:*65537""",
    ),
    Need(
        "INJECT_BP where no INT3 is",
        "delivered; SVM drops it",
        """a_second_injection_is_ebusy an_injected_bp_is_not_taken_by_use_sw_bp
        an_injection_under_a_step_runs_* inject_bp_after_a_patch_* inject_bp_works_without_enable
        inject_bp_where_no_int3_stands_*""",
        hardware=True,
    ),
    Need(
        "INT n",
        _EMULATION,
        """int_1_* a_step_over_int_1_* an_iret_that_sets_tf_* a_step_over_an_iret_that_sets_tf_*
        a_step_over_int_n_* the_frame_of_a_stepped_int_n_*""",
    ),
    Need(
        "step over INT n",
        _STEPS_INTO,
        """a_step_over_int_n_* the_frame_of_a_stepped_int_n_* a_step_over_the_guests_int3_*
        the_handler_of_a_stepped_int3_finds_no_tf_in_its_frame a_step_over_int_1_*""",
    ),
    Need("ICEBP to the guest", _EMULATION, "icebp_*"),
    Need("ICEBP to the host under USE_HW_BP", _EMULATION, "icebp_under_s_or_h_*"),
    Need(
        "IRET",
        _EMULATION + " in 32-bit protected mode",
        """in_protected_mode_too_only_rf_in_the_frame_passes_the_breakpoint""",
        mode="protected",
    ),
    Need(
        "IRET",
        _EMULATION + " in 32-bit protected mode",
        """blockirq_keeps_an_irq_in_the_lapic_over_a_step of_both_injections_only_the_db_*
        blockirq_without_enable_* blockirq_holds_an_nmi_back_until_it_is_dropped
        the_interrupt_in_the_lapic_comes_when_the_dbs_handler_returns
        a_step_with_an_irq_pending_in_the_lapic_runs_its_handler_free""",
    ),
    # -- steps -------------------------------------------------------------------------------------
    Need(
        "the handler of a stepped fault runs free",
        _STEPS_INTO,
        """a_step_over_a_fault_runs_* a_step_over_ud2_* *_handler_of_a_stepped_fault_*
        the_frame_of_a_stepped_fault_* after_a_step_over_a_fault_* a_step_over_a_page_fault_*
        a_step_over_a_load_whose_page_the_handler_maps_*
        after_its_general_detect_handler_a_stepped_guest_stops_behind_the_mov""",
    ),
    Need(
        "the handler of an interrupt in a step runs free",
        _STEPS_INTO,
        """a_step_with_an_irq_pending_in_the_lapic_runs_its_handler_free
        the_frame_of_an_interrupt_in_a_step_holds_no_tf
        without_blockirq_the_self_ipi_is_taken_behind_the_shadow_of_sti
        kvm_interrupt_is_delivered_in_a_step_*""",
    ),
    Need(
        "the handler of an injection in a step runs free",
        _STEPS_INTO,
        "an_injection_under_a_step_*",
    ),
    Need(
        "step over MOV SS",
        "the step stops right behind MOV SS",
        """a_load_into_ss_shields_* a_host_step_over_mov_ss_* only_the_first_of_two_mov_ss_shields
        a_hit_by_mov_ss_* a_hit_by_pop_ss_*""",
    ),
    Need(
        "step over REP",
        "one step is up to 1024 elements, and one more leaves the instruction",
        """rep_stops_once_per_iteration rep_stosb_stops_after_each_iteration repe_cmpsb_*
        a_stop_between_rep_iterations_* rep_stops_after_every_iteration_that_hits""",
    ),
    Need("step over REP OUTS", "a stop of its own with RCX = 0", "a_stepped_rep_outsb_*"),
    Need(
        "step over HLT with an APIC",
        "the processor does not sleep",
        "with_a_lapic_a_stepped_hlt_* a_processor_that_sleeps_after_a_stepped_hlt_*",
        mode="long",
    ),
    Need(
        "TF hidden in PUSHF",
        "hidden; VMX and SVM show it",
        "pushf_under_single_step_does_not_show_tf a_stepped_pushf_pushes_no_tf",
        hardware=True,
    ),
    Need(
        "TF hidden in exception frames",
        "it shows, as on VMX and SVM",
        """the_frame_of_a_stepped_* the_frame_of_an_interrupt_in_a_step_*
        an_injection_under_a_step_does_not_show_*
        the_handler_of_a_stepped_int3_finds_no_tf_in_its_frame""",
    ),
    Need(
        "TF hidden from SYSCALL",
        "hidden; VMX and SVM show it",
        "a_stepped_syscall_shows_no_tf_* a_step_over_a_syscall_that_masks_tf_stops_when_*",
        hardware=True,
    ),
    Need(
        "step over OUT to port 0x7E",
        "as any other; on VMX and SVM the step overwrites the IO exit",
        "port_7e_is_a_port_like_any_other",
        hardware=True,
    ),
    Need(
        "step over an MMIO store",
        "kept by the engine; VMX and SVM lose it",
        """a_stepped_mmio_write_* a_run_of_no_instructions_finishes_a_stepped_mmio_write_*
        a_stepped_16_byte_store_* an_mmio_store_across_* a_store_half_in_ram_*""",
        hardware=True,
    ),
    Need(
        "step over an INC of MMIO",
        "kept by the engine; VMX and SVM lose it",
        "a_stepped_inc_of_mmio_* an_inc_half_in_ram_*",
        hardware=True,
    ),
    Need(
        "step",
        "in 64-bit code the guest's vector 1 is entered",
        "a_step_over_int3_of_user_code_*",
        cpl3=True,
    ),
    Need("triple fault", "a step into an IVT of nothing", "a_stepped_ud2_without_an_idt_*"),
    Need(
        "KVM_SET_REGS elsewhere ends the step",
        "the step is taken all the same",
        "set_regs_at_another_rip_loses_the_step a_moved_rip_* init_keeps_single_stepping",
    ),
    Need(
        "an emulated instruction ends stepping",
        "stepping goes on",
        "after_an_emulated_instruction_a_step_must_be_asked_for_again",
    ),
    Need(
        "a POPF that clears TF ends stepping",
        "stepping goes on",
        "after_a_popf_that_clears_tf_a_step_must_be_asked_for_again",
    ),
    Need(
        "RIP at the OUT in its exit",
        "RIP is behind the OUT already",
        "a_stepped_out_gives_the_io_exit_at_the_out_* port_7e_is_a_port_like_any_other",
    ),
    Need(
        "dr7 of a step after the guest's MOV DR7",
        "dr7 is not written; the engine tells what it last saw",
        """init_keeps_single_stepping after_init_stepping_goes_on_when_asked_for
        after_its_general_detect_handler_a_stepped_guest_stops_behind_the_mov""",
    ),
    # -- the host's breakpoints and watchpoints ----------------------------------------------------
    Need(
        "RF passes a breakpoint",
        "RF is not looked at: it hits again",
        """rf_set_by_the_host_passes_the_breakpoint_once rf_is_gone_after_the_instruction_*
        rf_shields_the_instruction_under_a_step_too rf_lets_the_fetch_fault_*
        rf_passes_all_iterations_of_rep_* rf_and_a_count_of_zero_* rf_holds_back_the_execution_*
        rf_that_an_interrupt_pushed_still_shields_after_its_iret""",
    ),
    Need(
        "host's DR7 above 32 bits",
        "cut by the engine, as the kernel on VMX does not",
        "a_dr7_above_32_bits_* the_lower_half_of_a_dr7_above_32_bits_*",
        hardware=True,
    ),
    Need(
        "RF loaded by IRET is seen at the next instruction",
        "RF is gone one instruction early",
        "a_guest_that_loads_rf_by_iret_shows_it_*",
    ),
    Need(
        "no breakpoint behind MOV SS",
        "it hits",
        """a_hosts_execution_breakpoint_behind_mov_ss_*
        a_load_of_ss_whose_last_byte_looks_like_sti_shields_as_well""",
    ),
    Need(
        "watchpoint on a load",
        "never hits",
        """a_read_write_watchpoint_* every_kind_of_read_* a_read_of_a_code_byte_*
        a_read_modify_write_stops_once:*-3*
        the_manuals_examples_that_hit_do:*read*
        the_manuals_examples_that_hit_do:write-655361* the_manuals_examples_that_hit_do:write-72089*
        a_pop_is_a_read a_return_stops_* a_repe_that_ends_*
        an_access_across_pages_that_lie_apart_* a_store_to_the_page_table_entry_*
        a_hit_by_mov_ss_* a_hit_by_pop_ss_* a_mov_ss_that_ends_in_the_byte_of_sti_*
        a_load_of_another_segment_register_* rep_stops_after_every_iteration_that_hits
        *watched_mov_ss*""",
    ),
    Need(
        "two watchpoints in one exit",
        "one of them is named",
        "a_movs_that_hits_two_* a_movsq_that_hits_two_* two_watches_on_one_place_*",
    ),
    Need(
        "watchpoint in the last round of a REP",
        "the stop is at the instruction, not behind it",
        "a_hit_in_the_last_iteration_*",
    ),
    Need(
        "watchpoint in a page that the guest maps",
        "the engine looked for the page when the watchpoint was set",
        "the_store_that_is_retried_after_its_page_fault_* a_store_to_a_page_that_the_guest_has_*",
    ),
    Need(
        "a store whose second page is absent is a page fault",
        "the first page's part is written before the fault",
        "a_store_whose_second_page_is_absent_*",
    ),
    Need(
        "general detect (DR7.GD)",
        "the host's is not looked at",
        """act_5_* the_hosts_general_detect_* an_execution_breakpoint_at_the_mov_comes_before_*""",
    ),
    # -- the guest's own debugging -----------------------------------------------------------------
    Need(
        "guest's TF under USE_HW_BP",
        "the trap stays the guest's",
        """a_guest_db_under_use_hw_bp_* under_use_hw_bp_the_guest_keeps_its_tf_*
        vcpu_events_give_a_db_back_with_its_dr6 set_debugregs_and_inject_db_give_a_db_back""",
    ),
    Need(
        "guest's DR0 inert under USE_HW_BP",
        "it hits, and is the guest's",
        """under_use_hw_bp_the_guests_breakpoint_is_inert set_debugregs_under_use_hw_bp_is_inert
        under_use_hw_bp_neither_the_guests_* a_breakpoint_that_the_guest_sets_under_use_hw_bp_*""",
    ),
    Need(
        "guest's watchpoint",
        "never hits",
        """a_guests_data_breakpoint_* a_watchpoint_by_set_debugregs_* a_guests_write_watch_*
        *the_guests_own_watch_* *watched_mov_ss*""",
    ),
    Need(
        "guest's breakpoint under SINGLESTEP",
        "it stays the guest's",
        "under_singlestep_the_guests_own_breakpoint_*",
    ),
    Need(
        "guest's general detect under USE_HW_BP",
        "it stays the guest's",
        "the_guests_general_detect_is_inert_*",
    ),
    Need(
        "guest's general detect under SINGLESTEP",
        _STEPS_INTO,
        """the_guests_general_detect_stays_the_guests_under_singlestep
        after_its_general_detect_handler_a_stepped_guest_stops_behind_the_mov""",
    ),
    Need(
        "guest's TF behind OUT",
        "the trap comes one instruction late",
        "a_guest_under_tf_traps_after_out_*",
    ),
    Need(
        "guest's TF over MOV SS",
        "the trap comes right behind MOV SS",
        """a_guests_step_over_mov_ss_* pop_ss_shields_* general_detect_behind_mov_ss_*""",
    ),
    Need("guest's breakpoint behind MOV SS", "it hits", "an_execution_breakpoint_behind_mov_ss_*"),
    Need(
        "#GP for the upper half of DR4",
        "the MOV is done",
        "a_write_above_32_bits_to_dr6_or_dr7_*:[45]",
    ),
    Need(
        "SYSRET and SYSCALL",
        "#GP or #UD",
        "a_step_over_a_syscall_* a_stepped_syscall_* a_step_over_a_sysret_* a_syscall_that_*",
    ),
    Need("task switch", _EMULATION, "*switch_to_a_task* a_task_switch_*", mode="protected"),
    # -- memory and events -------------------------------------------------------------------------
    Need(
        "KVM_INTERRUPT under BLOCKIRQ",
        "the engine keeps it until BLOCKIRQ is dropped",
        "kvm_interrupt_is_delivered_*",
    ),
    Need(
        "KVM_INTERRUPT before the first instruction",
        "the window opens late: the emulator looks only now and then",
        """the_interrupt_comes_when_the_injected_dbs_handler_returns
        an_interrupt_that_finds_rf_set_pushes_it rf_that_an_interrupt_pushed_*
        the_frame_of_an_interrupt_in_a_step_*
        an_interrupt_inside_the_handler_of_a_stepped_fault_*""",
    ),
    Need(
        "the APIC's interrupt behind an injected #DB",
        "it is taken some instructions late: the emulator looks only now and then",
        """the_interrupt_in_the_lapic_comes_when_the_dbs_handler_returns
        the_interrupt_comes_when_the_injected_dbs_handler_returns""",
        mode="long",
    ),
    Need(
        "a queued exception makes an injection EBUSY",
        "an exception that is injected, not pending, is no obstacle",
        "an_exception_queued_by_set_vcpu_events_makes_an_injection_ebusy",
    ),
    Need(
        "a delivered #DB is forgotten",
        "exception_nr keeps its number",
        "a_delivered_db_no_longer_shows",
    ),
    Need(
        "an injected #DB comes before a pending NMI",
        "the NMI waits for the handler's end",
        "an_injected_db_comes_before_a_pending_nmi",
    ),
    Need(
        "exact budget",
        "KVM counts no instructions",
        """a_run_of_no_instructions_* an_irq_that_blockirq_kept_is_delivered_when_it_is_dropped
        blockirq_holds_an_nmi_of_the_lapic_back_until_it_is_dropped
        an_injected_db_comes_before_an_interrupt_in_the_lapic""",
    ),
)


def needs_of(test: str, parameters: str = "") -> Iterator[Need]:
    """What a test needs, by its name and the id of its parameters."""
    name = test.removeprefix("test_")
    for need in NEEDS:
        if any(_matches(glob, name, parameters) for glob in need.tests.split()):
            yield need


def _matches(glob: str, name: str, parameters: str) -> bool:
    wanted, _, its = glob.partition(":")
    return fnmatchcase(name, wanted) and (not its or fnmatchcase(parameters, its))
