/*
 * The back ends compiled into ember, and the choice among them: by name, or by probing in order of
 * preference. registry.c is the only file that names them.
 */
#pragma once

#include "backend/hypervisor.h"
#include "backend/network.h"
#include "backend/storage.h"

/* NULL-terminated, in order of preference for `auto`. */
extern const StorageBackend *const storage_backends[];
extern const NetworkBackend *const network_backends[];
extern const HypervisorBackend *const hypervisor_backends[];

/* By name; ERR_USAGE with the names that exist and "did you mean". */
const StorageBackend *storage_backend_find(const char *name, Error **err);
const NetworkBackend *network_backend_find(const char *name, Error **err);
const HypervisorBackend *hypervisor_backend_find(const char *name, Error **err);

/* The first whose probe says yes; *out_reason says why that one (and why not those before it).
 * Owned text. */
const StorageBackend *storage_backend_choose(const StorageSite *site, char **out_reason,
					     Error **err);
const NetworkBackend *network_backend_choose(char **out_reason, Error **err);
const HypervisorBackend *hypervisor_backend_choose(char **out_reason, Error **err);
