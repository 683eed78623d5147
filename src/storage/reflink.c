/*
 * The store is a plain directory: the filesystem of the state directory clones files by itself.
 */
#include <errno.h>
#include <string.h>

#include "storage/clonefile.h"
#include "storage/storages.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

static int reflink_probe(const StorageSite *site, char **out_reason, Error **err UNUSED)
{
	auto_free char *dir = fs_nearest_existing(site->store_dir);
	int clones = os_probe_clone(dir);

	if (clones > 0)
		*out_reason = xasprintf("the filesystem of '%s' clones files", dir);
	else if (clones == 0)
		*out_reason = xasprintf("the filesystem of '%s' does not clone files", dir);
	else
		*out_reason = xasprintf("'%s' cannot be written to: %s", dir, strerror(errno));
	return clones > 0;
}

static int reflink_init(const StorageSite *site, bool *out_adopted, Error **err)
{
	auto_free char *reason = NULL;
	bool existed = fs_exists(site->store_dir);
	auto_strv Strv files = { 0 };

	if (reflink_probe(site, &reason, err) <= 0) {
		error_set(err, ERR_UNSUPPORTED, "%s", reason);
		return error_hint(err, "as root, ember can make a filesystem that does: "
				       "ember init --storage btrfs");
	}
	if (clonefile_prepare(site->store_dir, err) < 0 ||
	    fs_list(site->store_dir, &files, err) < 0)
		return -1;
	*out_adopted = existed && files.count > 0;
	return 0;
}

static int reflink_open(const StorageSite *site, StoragePool **out_pool, Error **err)
{
	return clonefile_open(site->store_dir, /* host_file= */ NULL, out_pool, err);
}

static int reflink_deinit(const StorageSite *site, bool purge, Error **err)
{
	if (!purge)
		return 0;
	if (failpoint("storage.purge", err) < 0)
		return -1;
	return fs_remove_tree(site->store_dir, err);
}

static int reflink_check(const StorageSite *site, char **out_reason, Error **err UNUSED)
{
	if (fs_exists(site->store_dir))
		return 1;
	*out_reason = xasprintf("the store '%s' is missing", site->store_dir);
	return 0;
}

const StorageBackend reflink_storage = {
	.name = "reflink",
	.summary = "files in the state directory, cloned by its filesystem",
	.probe = reflink_probe,
	.init = reflink_init,
	.open = reflink_open,
	.close = clonefile_close,
	.deinit = reflink_deinit,
	.import_path = clonefile_import_path,
	.import_commit = clonefile_import_commit,
	.clone = clonefile_clone,
	.seal = clonefile_seal,
	.destroy = clonefile_destroy,
	.resize = clonefile_resize,
	.attach = clonefile_attach,
	.list = clonefile_list,
	.path = clonefile_path,
	.size = clonefile_size,
	.capacity = clonefile_capacity,
	.usage = clonefile_usage,
	.check = reflink_check,
};
