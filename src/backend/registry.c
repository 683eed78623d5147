#include "backend/registry.h"

#include "hypervisor/qemu.h"
#include "network/networks.h"
#include "storage/storages.h"
#include "util/mem.h"

#include <string.h>

const StorageBackend *const storage_backends[] = {
	&reflink_storage, &btrfs_storage,   &xfs_storage, &qcow2_storage,
	&zfs_storage,	  &dm_thin_storage, NULL
};
const NetworkBackend *const network_backends[] = { &user_network, &none_network, NULL };
const HypervisorBackend *const hypervisor_backends[] = { &qemu_hypervisor, NULL };

static int unknown(const char *what, const char *name, const Strv *names, Error **err)
{
	const char *nearest = str_nearest(name, (const char *const *)names->items, names->count);
	auto_free char *list = strv_join(names, ", ");
	auto_free char *shown = str_make_printable(xasprintf("%.60s", name));

	error_set(err, ERR_USAGE, "there is no %s '%s'", what, shown);
	if (nearest)
		return error_hint(err, "did you mean '%s'? there are: auto, %s", nearest, list);
	return error_hint(err, "there are: auto, %s", list);
}

const StorageBackend *storage_backend_find(const char *name, Error **err)
{
	auto_strv Strv names = { 0 };

	for (size_t i = 0; storage_backends[i]; i++) {
		if (!strcmp(storage_backends[i]->name, name))
			return storage_backends[i];
		strv_push(&names, storage_backends[i]->name);
	}
	(void)unknown("storage", name, &names, err);
	return NULL;
}

const NetworkBackend *network_backend_find(const char *name, Error **err)
{
	auto_strv Strv names = { 0 };

	for (size_t i = 0; network_backends[i]; i++) {
		if (!strcmp(network_backends[i]->name, name))
			return network_backends[i];
		strv_push(&names, network_backends[i]->name);
	}
	(void)unknown("network", name, &names, err);
	return NULL;
}

const HypervisorBackend *hypervisor_backend_find(const char *name, Error **err)
{
	auto_strv Strv names = { 0 };

	for (size_t i = 0; hypervisor_backends[i]; i++) {
		if (!strcmp(hypervisor_backends[i]->name, name))
			return hypervisor_backends[i];
		strv_push(&names, hypervisor_backends[i]->name);
	}
	(void)unknown("hypervisor", name, &names, err);
	return NULL;
}

/* "not reflink: its filesystem cannot clone files" for each that was passed over. */
static void add_refusal(Strbuf *refusals, const char *name, const char *reason)
{
	strbuf_addf(refusals, "%snot %s: %s", refusals->len ? "; " : "", name,
		    reason ? reason : "unknown reason");
}

const StorageBackend *storage_backend_choose(const StorageSite *site, char **out_reason,
					     Error **err)
{
	auto_strbuf Strbuf refusals = { 0 };

	for (size_t i = 0; storage_backends[i]; i++) {
		auto_free char *reason = NULL;
		int usable = storage_backends[i]->probe(site, &reason, err);

		if (usable < 0)
			return NULL;
		if (usable) {
			*out_reason = refusals.len
					      ? xasprintf("%s; %s", reason, strbuf_str(&refusals))
					      : steal(&reason);
			return storage_backends[i];
		}
		add_refusal(&refusals, storage_backends[i]->name, reason);
	}
	error_set(err, ERR_UNSUPPORTED, "no storage here can clone disks (%s)",
		  strbuf_str(&refusals));
	error_hint(
		err,
		"put the state on XFS or btrfs (--state-dir DIR), or run as root: sudo ember init");
	return NULL;
}

const NetworkBackend *network_backend_choose(char **out_reason, Error **err)
{
	for (size_t i = 0; network_backends[i]; i++) {
		auto_free char *reason = NULL;
		int usable = network_backends[i]->probe(&reason, err);

		if (usable < 0)
			return NULL;
		if (usable) {
			*out_reason = xasprintf("%s: %s", network_backends[i]->name, reason);
			return network_backends[i];
		}
	}
	error_set(err, ERR_UNSUPPORTED, "no network can be used here");
	error_hint(err, "do without: --network none");
	return NULL;
}

const HypervisorBackend *hypervisor_backend_choose(char **out_reason, Error **err)
{
	auto_strbuf Strbuf refusals = { 0 };

	for (size_t i = 0; hypervisor_backends[i]; i++) {
		auto_hypervisor_info HypervisorInfo info = { 0 };
		auto_free char *reason = NULL;
		int usable = hypervisor_backends[i]->probe(false, &info, &reason, err);

		if (usable < 0)
			return NULL;
		if (usable) {
			*out_reason = info.accelerator_reason
					      ? xasprintf("%s with %s, because %s",
							  hypervisor_backends[i]->name,
							  info.accelerator, info.accelerator_reason)
					      : xasprintf("%s with %s",
							  hypervisor_backends[i]->name,
							  info.accelerator);
			return hypervisor_backends[i];
		}
		add_refusal(&refusals, hypervisor_backends[i]->name, reason);
	}
	error_set(err, ERR_MISSING_TOOL, "no hypervisor can run here (%s)", strbuf_str(&refusals));
	error_hint(err, "install one: apt-get install qemu-system-x86");
	return NULL;
}
