"""A Vm over an engine of one's own: any function that opens one will do."""

from __future__ import annotations

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.engines.unicorn.engine import UnicornEngine
from kvmdbg.errors import BadInput
from kvmdbg.jupyter.session import Session


class Mine(UnicornEngine):
    name = "mine"


def test_a_vm_runs_on_an_engine_that_a_function_opens() -> None:
    with Vm(engine=Mine, ram=1 << 20) as vm:
        vm.load(assemble("mov eax, 5\nhlt"))
        assert (vm.engine_name, vm.step().regs.rax, len(vm.vcpu.ram)) == ("mine", 5, 1 << 20)


def test_an_engine_of_ones_own_has_its_own_rules() -> None:
    with pytest.raises(BadInput, match="has its own rules"):
        Vm(engine=Mine, profile="svm")


def test_the_next_vm_of_a_session_is_on_the_same_engine() -> None:
    session = Session({"vm": Vm(engine=Mine, ram=1 << 20)})
    session.new_vm("real", None)
    vm = session.require_vm()
    assert (vm.engine_name, vm.mode.value) == ("mine", "real")
    vm.close()


def test_a_session_leaves_an_engine_of_ones_own_if_that_is_said() -> None:
    session = Session({"vm": Vm(engine=Mine, ram=1 << 20)})
    session.new_vm(None, None, "unicorn")
    assert session.require_vm().engine_name == "unicorn"
    session.require_vm().close()
