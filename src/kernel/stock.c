#include "kernel/stock.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/apt.h"
#include "kernel/bzimage.h"
#include "kernel/initramfs.h"
#include "util/cancel.h"
#include "util/fs.h"
#include "util/mem.h"

#define IMAGE_PREFIX "linux-image-"

/* What a microVM's devices need, in the order in which it matters to the boot: the disk first. button and evdev let the
 * guest's logind see the power button. What the kernel has built in is passed over. */
static const char *const modules[] = {
	"virtio_mmio", "virtio_blk", "ext4",	     "virtio_console", "virtio_rng",
	"virtio_net",  "button",     "evdev",	     "virtio_balloon", "af_packet",
	"overlay",     "9p",	     "9pnet_virtio",
};

static const char *meta_package(const char *arch)
{
	return !strcmp(arch, "aarch64") ? "linux-image-cloud-arm64" : "linux-image-cloud-amd64";
}

static void step(const StockRequest *request, const char *text)
{
	if (request->step)
		request->step(request->arg, text);
}

/* Packages say /lib or, since Debian 13, /usr/lib for the same place. Owned. */
static char *find_modules(const char *tree, const char *version)
{
	auto_free char *dir = xasprintf("%s/usr/lib/modules/%s/kernel", tree, version);

	return fs_exists(dir) ? steal(&dir) : xasprintf("%s/lib/modules/%s/kernel", tree, version);
}

/* A cloud kernel has its virtio drivers as modules. None at all means that they are somewhere or something else than
 * thought, and the guest would wait for its disk in vain. */
static int check_modules(const Strv *paths, const char *module_dir, Error **err)
{
	if (paths->count)
		return 0;
	error_set(err, ERR_UNSUPPORTED, "no virtio modules in '%s'", module_dir);
	return error_hint(err, "name a kernel of your own: --kernel PATH");
}

/* The files of the unpacked package -> vmlinux and initrd in the target directory. */
static int assemble(const StockRequest *request, const char *tree, Kernel *kernel, Error **err)
{
	auto_free char *bzimage = xasprintf("%s/boot/vmlinuz-%s", tree, kernel->version);
	auto_free char *module_dir = find_modules(tree, kernel->version);
	auto_strv Strv paths = { 0 };

	kernel->path = path_join(request->target_dir, "vmlinux");
	kernel->initrd = path_join(request->target_dir, "initrd");
	/* An arm64 vmlinuz is booted as it is (an Image, or one that QEMU unpacks). */
	if (!strcmp(request->arch, "aarch64") ? fs_rename(bzimage, kernel->path, err) < 0
					      : bzimage_extract(bzimage, kernel->path, err) < 0)
		return -1;
	if (initramfs_order_modules(module_dir, modules, ARRAY_SIZE(modules), &paths, err) < 0 ||
	    check_modules(&paths, module_dir, err) < 0 ||
	    initramfs_write(kernel->initrd, request->boot_program, &paths, err) < 0)
		return error_wrap(err, "make the initramfs");
	return 0;
}

/* The package that has the kernel itself. A source that fails matters only when no other one has it. */
static int find_package(const StockRequest *request, char **out_package, Error **err)
{
	const char *meta = meta_package(request->arch);
	auto_error update_error = NULL;
	int updated = apt_update(request->work_dir, &update_error);

	if (cancel_check(err) < 0)
		return -1;
	if (updated == 0)
		return apt_dependency(request->work_dir, meta, IMAGE_PREFIX, out_package, err);
	if (apt_dependency(request->work_dir, meta, IMAGE_PREFIX, out_package, NULL) == 0)
		return 0;
	error_move(err, &update_error);
	return -1;
}

static int fetch(const StockRequest *request, const char *tree, Kernel *kernel, Error **err)
{
	auto_free char *package = NULL;
	struct stat st;

	step(request, "fetch the package index");
	if (find_package(request, &package, err) < 0)
		return -1;
	step(request, "fetch the kernel");
	if (apt_unpack(request->work_dir, package, tree, err) < 0)
		return -1;
	kernel->version = xstrdup(package + strlen(IMAGE_PREFIX));
	step(request, "unpack the kernel");
	if (assemble(request, tree, kernel, err) < 0)
		return -1;
	if (stat(kernel->path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", kernel->path);
	kernel->size_bytes = (unsigned long long)st.st_size;
	return fs_sync_path(kernel->path, err) < 0 || fs_sync_path(kernel->initrd, err) < 0 ? -1
											    : 0;
}

int stock_kernel_fetch(const StockRequest *request, Kernel *out_kernel, Error **err)
{
	auto_free char *tree = path_join(request->work_dir, "tree");
	auto_kernel Kernel kernel = { .arch = xstrdup(request->arch) };
	int result;

	if (fs_remove_tree(tree, err) < 0)
		return -1;
	result = fetch(request, tree, &kernel, err);
	(void)fs_remove_tree(tree, NULL);
	if (result < 0)
		return -1;
	*out_kernel = kernel;
	kernel = (Kernel){ 0 };
	return 0;
}
