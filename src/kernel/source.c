#include "kernel/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/apt.h"
#include "model/uuid.h"
#include "util/cancel.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"
#include "util/str.h"

#define INSTALLED_DIR	  "/usr/src"
#define PACKAGE_PREFIX	  "linux-source-"
#define META_PACKAGE	  "linux-source"
#define TARBALL_SUFFIX	  ".tar.xz"
#define PACKAGE_IDENTITY  "package " PACKAGE_PREFIX
#define QUERY_TIMEOUT_MS  10000
#define HASH_TIMEOUT_MS	  600000
#define UNPACK_TIMEOUT_MS 1800000
#define TREE_DEPTH_MAX	  64
#define HASH_MULTIPLIER	  1099511628211ULL

void kernel_source_release(KernelSource *source)
{
	free(source->identity);
	free(source->directory);
	free(source->tarball);
	free(source->package);
	*source = (KernelSource){ 0 };
}

bool kernel_source_is_package(const char *identity)
{
	return identity && str_starts_with(identity, PACKAGE_IDENTITY);
}

static void mix(uint64_t *hash, uint64_t value)
{
	*hash = (*hash ^ value) * HASH_MULTIPLIER;
}

/* What make goes by: names, sizes and times. The order of a directory is not ours, so its entries are summed up. */
static int hash_tree(int parent, const char *name, unsigned depth, uint64_t *sum, Error **err)
{
	auto_fd fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const struct dirent *entry;
	int result = 0;
	DIR *dir = NULL;

	if (fd >= 0)
		dir = fdopendir(fd);
	if (!dir)
		return error_set_errno(err, errno, "read directory '%s'", name);
	(void)steal_fd(&fd);
	while (result == 0 && (entry = readdir(dir))) {
		uint64_t hash = hash_text(entry->d_name);
		struct stat st;

		if (entry->d_name[0] == '.' ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		mix(&hash, depth);
		mix(&hash, st.st_mode);
		if (S_ISDIR(st.st_mode) && depth < TREE_DEPTH_MAX) {
			result = cancel_check(err);
			if (result == 0)
				result =
					hash_tree(dirfd(dir), entry->d_name, depth + 1, &hash, err);
		} else {
			mix(&hash, (uint64_t)st.st_size);
			mix(&hash, (uint64_t)st.st_mtim.tv_sec);
			mix(&hash, (uint64_t)st.st_mtim.tv_nsec);
		}
		*sum += hash;
	}
	(void)closedir(dir);
	return result;
}

static int use_directory(const char *path, KernelSource *source, Error **err)
{
	auto_free char *makefile = path_join(path, "Makefile");
	auto_free char *kconfig = path_join(path, "Kconfig");
	uint64_t hash = 0;

	if (!fs_exists(makefile) || !fs_exists(kconfig)) {
		error_set(err, ERR_USAGE, "'%s' is not the source of a kernel", path);
		return error_hint(err, "name a directory that has its Makefile and Kconfig, or a "
				       "tarball");
	}
	if (hash_tree(AT_FDCWD, path, 0, &hash, err) < 0)
		return -1;
	source->directory = xstrdup(path);
	source->identity = xasprintf("directory %s %016llx", path, (unsigned long long)hash);
	return 0;
}

/* Known by its content, wherever it lies. */
static int use_tarball(const char *path, KernelSource *source, Error **err)
{
	auto_command Command cmd = { 0 };
	const char *sum;

	command_init(&cmd, "sha256sum", "--", path, NULL);
	cmd.capture = true;
	if (command_run(&cmd, deadline_in_ms(HASH_TIMEOUT_MS), err) < 0)
		return error_wrap(err, "read '%s'", path);
	sum = strbuf_str(&cmd.output);
	if (*sum == '\\')
		sum++; /* so it marks a name that it had to quote */
	source->tarball = xstrdup(path);
	source->identity = xasprintf("file sha256:%.64s", sum);
	return 0;
}

static int use_path(const char *wish, KernelSource *source, Error **err)
{
	auto_free char *path = NULL;
	struct stat st;

	if (path_absolute(wish, &path, err) < 0)
		return -1;
	if (stat(path, &st) < 0) {
		error_set_errno(err, errno, "look at the source '%s'", wish);
		return error_hint(err, "name a directory or a tarball, or leave out --source");
	}
	if (S_ISDIR(st.st_mode))
		return use_directory(path, source, err);
	return use_tarball(path, source, err);
}

/* The version of an installed package, or NULL. Owned. */
static char *installed_version(const char *package)
{
	auto_command Command cmd = { 0 };

	command_init(&cmd, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package,
		     NULL);
	cmd.capture = true;
	if (command_run(&cmd, deadline_in_ms(QUERY_TIMEOUT_MS), NULL) < 0 ||
	    !str_starts_with(strbuf_str(&cmd.output), "installed "))
		return NULL;
	return xstrdup(cmd.output.text + strlen("installed "));
}

/* 1 found, 0 none, -1 error: linux-source-6.1.tar.xz and the like. */
static int use_installed(KernelSource *source, Error **err)
{
	auto_strv Strv names = { 0 };
	auto_free char *path = NULL;
	auto_free char *package = NULL;
	auto_free char *version = NULL;
	const char *newest = NULL;

	(void)fs_list(INSTALLED_DIR, &names, NULL);
	for (size_t i = 0; i < names.count; i++)
		if (str_starts_with(names.items[i], PACKAGE_PREFIX) &&
		    str_ends_with(names.items[i], TARBALL_SUFFIX) &&
		    (!newest || strverscmp(names.items[i], newest) > 0))
			newest = names.items[i];
	if (!newest)
		return 0;
	path = path_join(INSTALLED_DIR, newest);
	package = xstrndup(newest, strlen(newest) - strlen(TARBALL_SUFFIX));
	version = installed_version(package);
	if (!version)
		return use_tarball(path, source, err) < 0 ? -1 : 1;
	source->tarball = steal(&path);
	source->identity = xasprintf("package %s %s", package, version);
	return 1;
}

int kernel_source_find(const char *wish, bool from_archive, KernelSource *out_source, Error **err)
{
	auto_kernel_source KernelSource source = { 0 };
	int found = 0;

	if (wish)
		found = use_path(wish, &source, err) < 0 ? -1 : 1;
	else if (!from_archive)
		found = use_installed(&source, err);
	if (found < 0)
		return -1;
	if (!found)
		source.package = xstrdup(META_PACKAGE);
	*out_source = source;
	source = (KernelSource){ 0 };
	return 0;
}

/* usr/src/linux-source-VERSION.tar.xz of the unpacked package. */
static int find_tarball(const char *dir, const char *package, char **out_path, Error **err)
{
	auto_free char *path = xasprintf("%s/usr/src/%s" TARBALL_SUFFIX, dir, package);

	if (!fs_exists(path))
		return error_set(err, ERR_FAILED, "package '%s' has no '%s" TARBALL_SUFFIX "'",
				 package, package);
	*out_path = steal(&path);
	return 0;
}

int kernel_source_look_up(KernelSource *source, const char *apt_dir, Error **err)
{
	auto_free char *package = NULL;
	auto_free char *version = NULL;
	auto_error update_error = NULL;
	int updated = apt_update(apt_dir, &update_error);

	if (cancel_check(err) < 0)
		return -1;
	/* A source of packages that fails matters only when no other one has it. */
	if (apt_dependency(apt_dir, META_PACKAGE, PACKAGE_PREFIX, &package,
			   updated == 0 ? err : NULL) < 0 ||
	    apt_candidate(apt_dir, package, &version, updated == 0 ? err : NULL) < 0) {
		if (updated < 0)
			error_move(err, &update_error);
		return error_set_hint(err, "fetch it another way and name it: --source FILE");
	}
	free(source->package);
	free(source->identity);
	source->identity = xasprintf("package %s %s", package, version);
	source->package = steal(&package);
	return 0;
}

int kernel_source_fetch(KernelSource *source, const char *apt_dir, const char *into, Error **err)
{
	if (apt_unpack(apt_dir, source->package, into, err) < 0)
		return -1;
	return find_tarball(into, source->package, &source->tarball, err);
}

/* arch/NAME of other machines. */
static const char *const other_machines[] = {
	"alpha", "arc",	  "csky",     "hexagon", "ia64",    "loongarch", "m68k", "microblaze",
	"mips",	 "nios2", "openrisc", "parisc",	 "powerpc", "riscv",	 "s390", "sh",
	"sparc", "um",	  "xtensa",   "x86",	 "arm64",   "arm",
};

static void exclude_machines(Command *cmd, const char *arch)
{
	bool is_arm = !strcmp(arch, "aarch64");

	for (size_t i = 0; i < ARRAY_SIZE(other_machines); i++) {
		const char *name = other_machines[i];

		/* arm64 includes some of arm. */
		if (is_arm ? str_starts_with(name, "arm") : !strcmp(name, "x86"))
			continue;
		/* Their options are asked for all the same. */
		command_addf(cmd, "--exclude=*/arch/%s/*.[chS]", name);
		command_addf(cmd, "--exclude=*/arch/%s/boot/dts/*", name);
	}
}

int kernel_source_unpack(const KernelSource *source, const char *arch, const char *into,
			 Error **err)
{
	auto_command Command cmd = { 0 };

	command_init(&cmd, "tar", "-x", "--no-same-owner", "--strip-components=1", "--wildcards",
		     "--exclude=*/Documentation/*/*", "--exclude=*/tools/testing/*",
		     "--exclude=*/tools/perf/*", NULL);
	cmd.is_tied = true;
	exclude_machines(&cmd, arch);
	if (str_ends_with(source->tarball, ".xz"))
		command_add(&cmd,
			    "--use-compress-program=xz -T0"); /* by blocks, on all processors */
	command_add(&cmd, "-C");
	command_add(&cmd, into);
	command_add(&cmd, "-f");
	command_add(&cmd, source->tarball);
	if (command_run_writer(&cmd, deadline_in_ms(UNPACK_TIMEOUT_MS), "write the source", err) <
	    0)
		return error_wrap(err, "unpack '%s'", source->tarball);
	return 0;
}
