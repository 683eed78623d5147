/*
 * Where the ZFS store is tested: with programs that play zfs(8) and zpool(8), which is possible everywhere, and with the
 * real ones where there is the kernel module.
 */
#include "storage_test.h"

#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"

#define POOL "ember-test"

const char *const zfs_clone_steps[] = { "storage.zfs.clone", NULL };
const char *const zfs_import_steps[] = { "storage.zfs.create", "storage.zfs.copy",
					 "storage.zfs.seal",   "storage.zfs.seal.commit",
					 "storage.zfs.import", NULL };
const char *const zfs_seal_steps[] = { "storage.zfs.seal", "storage.zfs.seal.commit", NULL };

static char *path_before;

static void set_dir(const char *variable, const char *name)
{
	auto_free char *above = path_dirname(site.state_dir);
	auto_free char *dir = path_join(above, name);

	CHECK_INT(fs_mkdir_all(dir, 0700, NULL), 0);
	CHECK_INT(setenv(variable, dir, 1), 0);
}

const char *zfs_set_up_fake(void)
{
	const char *fakes = getenv("EMBER_TEST_FAKES");
	auto_free char *path = NULL;

	if (!fakes)
		return "EMBER_TEST_FAKES does not say where the fake programs are";
	path_before = xstrdup(getenv("PATH"));
	path = xasprintf("%s/zfs:%s", fakes, path_before);
	CHECK_INT(setenv("PATH", path, 1), 0);
	set_dir("FAKE_ZFS", "zfs");
	set_dir("EMBER_ZVOL_DIR", "zvol");
	return NULL;
}

void zfs_tear_down_fake(void)
{
	if (path_before)
		(void)setenv("PATH", path_before, 1);
	(void)unsetenv("FAKE_ZFS");
	(void)unsetenv("EMBER_ZVOL_DIR");
	free(steal(&path_before));
}

static bool has_module(void)
{
	return geteuid() == 0 && run("zpool", "list", "-H", "-o", "name", NULL) == 0;
}

/* Without compression: the cases write what would be compressed to nothing. */
const char *zfs_set_up_pool(void)
{
	auto_free char *file = path_join(root, "pool.img");

	if (!has_module())
		return "this host has no zfs";
	if (run("truncate", "-s", "512M", file, NULL) < 0 ||
	    run("zpool", "create", "-o", "ashift=12", "-O", "compression=off", "-m", "none", POOL,
		file, NULL) < 0)
		return "cannot make a pool";
	site.pool = POOL;
	return NULL;
}

void zfs_tear_down_pool(void)
{
	(void)run("zpool", "destroy", POOL, NULL);
}

const char *zfs_set_up_file(void)
{
	return has_module() ? NULL : "this host has no zfs";
}
