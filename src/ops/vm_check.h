/*
 * Checks of what the user asked for, shared by the operations on VMs.
 */
#pragma once

#include "model/size.h"
#include "ops/vm.h"

#define VM_DISK_MAX_MIB (16 * TIB / MIB) /* ext4 with 4 KiB blocks and 32-bit tools' reach */

/* cpus, memory, disk size and network of a create or fork; ERR_USAGE. Zero and NULL mean "not given". */
int vm_check_shape(const VmChanges *shape, Error **err);
/* What goes into a record must be UTF-8; NULL is fine. */
int vm_check_text(const char *flag, const char *text, Error **err);
/* Each is NAME=VALUE with a name, in UTF-8. */
int vm_check_pairs(const char *flag, const Strv *pairs, Error **err);
/* A hypervisor of this ember, or "auto", or NULL. */
int vm_check_hypervisor(const char *wish, Error **err);
