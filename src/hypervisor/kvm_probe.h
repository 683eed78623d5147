/*
 * Does KVM really run ordinary guests here?
 *
 * That /dev/kvm can be opened says little: nested and paravirtual KVMs accept a VM and then die on
 * the first instruction that their emulator does not know ("KVM internal error. Suberror: 1"). So
 * this makes a VM with one vCPU in long mode that runs popcnt, movdqu and hlt, and looks at the
 * result. About 2 ms where it works.
 *
 * Sources: Linux, Documentation/virt/kvm/api.rst; Intel SDM vol. 3, ch. 3 and 4 (paging, long mode).
 */
#pragma once

#include "util/error.h"

/* 1 yes; 0 no, with the reason in words for the user in *out_reason (owned). It cannot fail and
 * never hangs: the guest runs in a process of its own that is killed after a second. */
int kvm_probe(char **out_reason);
