"""Profiles by name: who takes one, who refuses one, and that each field of one is a choice."""

from __future__ import annotations

from dataclasses import fields

import pytest

from kvmdbg import Vm
from kvmdbg.engines import open_engine
from kvmdbg.errors import BadInput, KvmdbgError, UnknownName
from kvmdbg.guestdebug import DebugState
from kvmdbg.profiles import PROFILES, REFERENCE, Profile, find_profile
from tests.guests.bench import RAM, Bench, E, S

NAMES = list(PROFILES)


def test_a_profile_is_known_by_its_own_name() -> None:
    assert [find_profile(name).name for name in NAMES] == NAMES


def test_the_reference_profile_is_the_default() -> None:
    assert DebugState().profile == REFERENCE == Profile("reference")


def test_an_unknown_profile_is_refused_with_the_list_of_those_that_there_are() -> None:
    with pytest.raises(UnknownName) as caught:
        find_profile("amd")
    assert str(caught.value) == ('unknown profile "amd"; choose reference, vmx, svm, emu618, k08')


def test_a_vm_with_an_unknown_profile_is_refused_as_well() -> None:
    with pytest.raises(UnknownName, match='unknown profile "SVM"'):
        Vm(profile="SVM")


@pytest.mark.parametrize("name", NAMES)
def test_a_vm_knows_the_profile_that_it_was_made_with(name: str) -> None:
    with Vm(profile=name) as vm:
        assert vm.profile == name


def test_a_vm_made_without_a_profile_names_none() -> None:
    with Vm() as vm:
        assert vm.profile is None


@pytest.mark.parametrize("name", ["vmx", "nonsense"])
def test_a_profile_for_the_kernels_own_engine_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_engine("kvm", RAM, name)
    assert "this host's kernel" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vm_on_the_kernels_engine_takes_no_profile_either() -> None:
    with pytest.raises(KvmdbgError, match='a profile is for "unicorn"'):
        Vm(engine="kvm", profile="vmx")


def test_every_field_of_a_profile_differs_somewhere() -> None:
    """One that nobody changes would be no choice."""
    alike = [
        field.name
        for field in fields(Profile)
        if len({getattr(profile, field.name) for profile in PROFILES.values()}) == 1
    ]
    assert alike == []


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_keeps_the_profile(name: str) -> None:
    with Bench("pushf\npop rax\nhlt", profile=name) as b:
        before = b.vcpu.snapshot()
        seen = []
        for _ in range(2):
            b.run(E | S)
            b.run(E | S)
            seen.append(b.reg("rax"))
            b.vcpu.restore(before)
        assert seen[0] == seen[1]
