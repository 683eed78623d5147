#include "kernel/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/decompress.h"
#include "kernel/modinfo.h"
#include "util/fs.h"
#include "util/mem.h"

#define MODULE_MAX  (64U << 20)
#define PROGRAM_MAX (16U << 20)
#define DEPTH_MAX   32 /* of dependencies; a cycle would go on for ever */

/* Every module of the package, by name. */
typedef struct Modules {
	Strv names; /* with '_' for '-' */
	Strv paths;
} Modules;

static void modules_release(Modules *modules)
{
	strv_release(&modules->names);
	strv_release(&modules->paths);
}

static char *module_name(const char *file)
{
	char *name = xstrndup(file, strcspn(file, "."));

	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
	return name;
}

static bool is_module(const char *file)
{
	return str_ends_with(file, ".ko") || (decompress_program(file) && strstr(file, ".ko."));
}

static int collect(const char *dir, Modules *modules, int depth, Error **err)
{
	auto_strv Strv entries = { 0 };

	if (fs_list(dir, &entries, err) < 0)
		return -1;
	for (size_t i = 0; i < entries.count; i++) {
		auto_free char *path = path_join(dir, entries.items[i]);
		struct stat st;

		if (lstat(path, &st) < 0)
			return error_set_errno(err, errno, "look at '%s'", path);
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			if (collect(path, modules, depth + 1, err) < 0)
				return -1;
		} else if (S_ISREG(st.st_mode) && is_module(entries.items[i])) {
			strv_push_take(&modules->names, module_name(entries.items[i]));
			strv_push_take(&modules->paths, steal(&path));
		}
	}
	return 0;
}

/* The module as the kernel loads it. Owned. */
static int plain_module(const char *path, char **out_path, Error **err)
{
	const char *program = decompress_program(path);
	auto_free char *plain = NULL;
	auto_fd fd = -1;

	if (!program) {
		*out_path = xstrdup(path);
		return 0;
	}
	plain = xstrndup(path, (size_t)(strrchr(path, '.') - path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (decompress_fd(program, fd, plain, err) < 0)
		return error_wrap(err, "decompress '%s'", path);
	*out_path = steal(&plain);
	return 0;
}

static int add_module(const Modules *modules, const char *wanted, int depth, Strv *out_paths,
		      Error **err)
{
	auto_free char *name = module_name(wanted);
	auto_free char *data = NULL;
	auto_free char *path = NULL;
	auto_strv Strv depends = { 0 };
	const char *found = NULL;
	size_t len;

	for (size_t i = 0; i < modules->names.count && !found; i++)
		if (!strcmp(modules->names.items[i], name))
			found = modules->paths.items[i];
	if (!found)
		return 0; /* built in */
	for (size_t i = 0; i < out_paths->count; i++)
		if (str_starts_with(found, out_paths->items[i]))
			return 0; /* there already; `found` may have a suffix more */
	if (depth == DEPTH_MAX)
		return error_set(err, ERR_FAILED,
				 "the kernel's modules need each other in a circle ('%s')", name);
	if (plain_module(found, &path, err) < 0 || fs_read(path, MODULE_MAX, &data, &len, err) < 0)
		return -1;
	if (modinfo_depends((const uint8_t *)data, len, &depends, err) < 0)
		return error_wrap(err, "read module '%s'", path);
	for (size_t i = 0; i < depends.count; i++)
		if (add_module(modules, depends.items[i], depth + 1, out_paths, err) < 0)
			return -1;
	strv_push(out_paths, path);
	return 0;
}

int initramfs_order_modules(const char *module_dir, const char *const *wanted, size_t count,
			    Strv *out_paths, Error **err)
{
	CLEANUP(modules_release) Modules modules = { 0 };

	if (collect(module_dir, &modules, 0, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (add_module(&modules, wanted[i], 0, out_paths, err) < 0)
			return -1;
	return 0;
}

static int add_file(Cpio *cpio, const char *name, unsigned mode, const char *path, size_t max,
		    Error **err)
{
	auto_free char *data = NULL;
	size_t len;

	if (fs_read(path, max, &data, &len, err) < 0)
		return -1;
	return cpio_add(cpio, name, S_IFREG | mode, data, len, err);
}

static int add_modules(Cpio *cpio, const Strv *paths, Error **err)
{
	auto_strbuf Strbuf order = { 0 };

	for (size_t i = 0; i < paths->count; i++) {
		auto_free char *name = xasprintf("modules/%s", path_basename(paths->items[i]));

		strbuf_addf(&order, "%s\n", path_basename(paths->items[i]));
		if (add_file(cpio, name, 0644, paths->items[i], MODULE_MAX, err) < 0)
			return -1;
	}
	return cpio_add(cpio, "modules/order", S_IFREG | 0644, strbuf_str(&order), order.len, err);
}

int initramfs_write(const char *path, const char *boot_program, const Strv *module_paths,
		    Error **err)
{
	static const char *const directories[] = { "dev", "proc", "sys", "root", "modules" };
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	Cpio cpio = { .fd = fd };

	if (fd < 0)
		return error_set_errno(err, errno, "make '%s'", path);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (cpio_add(&cpio, directories[i], S_IFDIR | 0755, NULL, 0, err) < 0)
			return -1;
	/* The kernel opens it for /init before devtmpfs is there. */
	if (cpio_add_device(&cpio, "dev/console", S_IFCHR | 0600, 5, 1, err) < 0 ||
	    add_file(&cpio, "init", 0755, boot_program, PROGRAM_MAX, err) < 0 ||
	    add_modules(&cpio, module_paths, err) < 0)
		return -1;
	return cpio_finish(&cpio, err);
}
