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

	if (package)
		return xasprintf("install it: apt-get install %s", package);
	return xasprintf("install the package that has '%s', or put it on PATH", name);
}
