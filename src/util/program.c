#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/process.h"

/* Which Debian package has which program. */
static const struct {
	const char *program;
	const char *package;
} packages[] = {
	{ "qemu-system-x86_64", "qemu-system-x86" },
	{ "qemu-system-aarch64", "qemu-system-arm" },
	{ "qemu-img", "qemu-utils" },
	{ "skopeo", "skopeo" },
	{ "mmdebstrap", "mmdebstrap" },
	{ "newuidmap", "uidmap" },
	{ "buildah", "buildah" },
	{ "podman", "podman" },
	{ "docker", "docker.io" },
	{ "mkfs.btrfs", "btrfs-progs" },
	{ "mkfs.xfs", "xfsprogs" },
	{ "xfs_growfs", "xfsprogs" },
	/* The second package has the kernel module. */
	{ "zfs", "zfsutils-linux zfs-dkms" },
	{ "zpool", "zfsutils-linux zfs-dkms" },
	{ "thin_check", "thin-provisioning-tools" },
	{ "thin_ls", "thin-provisioning-tools" },
	{ "dpkg-deb", "dpkg" },
	{ "e2fsck", "e2fsprogs" },
	{ "apt-get", "apt" },
	{ "apt-cache", "apt" },
	{ "lz4", "lz4" },
	{ "zstd", "zstd" },
	{ "xz", "xz-utils" },
	{ "bzip2", "bzip2" },
	{ "make", "make" },
	{ "gcc", "gcc" },
	{ "ld", "binutils" },
	{ "strip", "binutils" },
	{ "flex", "flex" },
	{ "bison", "bison" },
	{ "bc", "bc" },
	{ "perl", "perl" },
	{ "tar", "tar" },
	{ "gzip", "gzip" },
};

/* Those of which Debian has the packages in a section that is not on by default. */
static const char *const contrib[] = { "zfs", "zpool" };

char *program_find(const char *name)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
	if (!path || !*path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*path) {
		size_t len = strcspn(path, ":");
		auto_free char *full = xasprintf("%.*s/%s", (int)len, path, name);

		if (len && access(full, X_OK) == 0)
			return steal(&full);
		path += len + (path[len] == ':');
	}
	return NULL;
}

char *program_find_admin(const char *name)
{
	static const char *const places[] = { "/usr/sbin", "/sbin" };
	char *found = program_find(name);

	for (size_t i = 0; i < ARRAY_SIZE(places) && !found; i++) {
		auto_free char *elsewhere = xasprintf("%s/%s", places[i], name);

		found = program_find(elsewhere);
	}
	return found;
}

const char *program_package(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(packages); i++)
		if (!strcmp(packages[i].program, name))
			return packages[i].package;
	return NULL;
}

char *program_install_hint(const char *name)
{
	const char *package = program_package(name);

	for (size_t i = 0; i < ARRAY_SIZE(contrib); i++)
		if (!strcmp(contrib[i], name))
			return xasprintf("install it from Debian's contrib section: "
					 "apt-get install %s",
					 package);
	if (package)
		return xasprintf("install it: apt-get install %s", package);
	return xasprintf("install the package that has '%s', or put it on PATH", name);
}
