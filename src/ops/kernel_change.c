/*
 * Adding, removing and choosing kernels.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/identify.h"
#include "ops/kernel.h"
#include "ops/kernel_make.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "state/kernels.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* Sharing its blocks where the filesystem can. */
static int copy_in(const char *from, const char *to, Error **err)
{
	auto_fd in = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	auto_fd out = -1;
	struct stat st;

	if (in < 0 || fstat(in, &st) < 0)
		return error_set_errno(err, errno, "read '%s'", from);
	if (!S_ISREG(st.st_mode)) {
		error_set(err, ERR_USAGE, "'%s' is not a regular file", from);
		return error_hint(err, "name the file itself");
	}
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0)
		return error_set_errno(err, errno, "make '%s'", to);
	if (fs_copy_contents(in, out, NULL, NULL, err) < 0)
		return error_wrap(err, "copy '%s'", from);
	return fs_sync_fd(out, to, err);
}

/* What we look at is the copy: nobody changes it any more. */
static int copy_kernel(const char *path, const char *initrd, const KernelWork *work, Kernel *kernel,
		       Error **err)
{
	CLEANUP(kernel_facts_release) KernelFacts facts = { 0 };
	auto_free char *what = xasprintf("'%s'", path);
	KernelFormat format;
	struct stat st;

	kernel->path = path_join(work->target, "vmlinux");
	if (copy_in(path, kernel->path, err) < 0)
		return -1;
	if (kernel_identify_file(kernel->path, &facts, &format, err) < 0 ||
	    kernel_check_bootable(&facts, format, os_machine(), what, err) < 0)
		return -1;
	if (stat(kernel->path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", kernel->path);
	kernel->size_bytes = (unsigned long long)st.st_size;
	kernel->arch = xstrdup(facts.arch);
	kernel->version = steal(&facts.version);
	if (!initrd)
		return 0;
	kernel->initrd = path_join(work->target, "initrd");
	return failpoint("kernel.add.initrd", err) < 0 ? -1 : copy_in(initrd, kernel->initrd, err);
}

static int refuse_existing(Context *ctx, const char *name, Error **err)
{
	auto_free char *dir = store_kernel_dir(&ctx->store, name);

	if (!fs_exists(dir))
		return 0;
	error_set(err, ERR_EXISTS, "kernel '%s' already exists", name);
	return error_hint(err, "choose another name, or: ember kernel delete %s", name);
}

int ops_kernel_add(Context *ctx, const char *name, const KernelAddOptions *options,
		   Kernel *out_kernel, Error **err)
{
	CLEANUP(kernel_work_release) KernelWork work = { 0 };
	auto_kernel Kernel kernel = { .name = xstrdup(name) };
	auto_fd lock = -1;
	KernelFormat format;
	int result;

	/* Asked of the user's own file first, so that the error names it. */
	if (kernel_check_name(name, err) < 0 || kernel_format_of(options->path, &format, err) < 0 ||
	    context_load_or_init(ctx, err) < 0 || change_begin(ctx, err) < 0 ||
	    store_lock_op(&ctx->store, "kernel", name, &lock, err) < 0 ||
	    refuse_existing(ctx, name, err) < 0 || kernel_work_begin(ctx, name, &work, err) < 0)
		return -1;
	result = failpoint("kernel.add.copy", err);
	if (result == 0)
		result = copy_kernel(options->path, options->initrd, &work, &kernel, err);
	if (result == 0)
		result = kernel_work_commit(ctx, &kernel, &work, err);
	kernel_work_end(ctx, &work);
	if (result < 0)
		return error_wrap(err, "add kernel '%s'", name);
	if (options->make_default && ops_kernel_set_default(ctx, name, err) < 0)
		return -1;
	return ops_kernel_find(ctx, name, out_kernel, err);
}

/* A VM that names none takes the default one, which is refused for its own reason. */
static int refuse_used(Context *ctx, const char *name, Error **err)
{
	auto_vm_list VmList vms = { 0 };
	auto_strv Strv users = { 0 };
	auto_free char *joined = NULL;

	if (!strcmp(name, KERNEL_STOCK))
		return 0; /* fetched again when it is needed */
	if (str_equal(ctx->config.kernel, name)) {
		error_set(err, ERR_BUSY, "kernel '%s' is the default one", name);
		return error_hint(err, "choose another first: ember kernel default " KERNEL_STOCK);
	}
	if (records_list_vms(&ctx->store, &vms, err) < 0)
		return -1;
	for (size_t i = 0; i < vms.count; i++)
		if (str_equal(vms.items[i].kernel, name))
			strv_push(&users, vms.items[i].name);
	if (!users.count)
		return 0;
	joined = strv_join(&users, ", ");
	error_set(err, ERR_BUSY, "kernel '%s' is used by %s", name, joined);
	return error_hint(err, "remove them first: ember vm delete %s", users.items[0]);
}

int ops_kernel_delete(Context *ctx, const char *name, Error **err)
{
	auto_free char *dir = NULL;
	auto_free char *kernels = NULL;
	auto_free char *trash = NULL;
	auto_free char *log = NULL;
	auto_fd lock = -1;
	auto_fd users = -1;

	if (name_check("kernel", name, err) < 0 || change_begin(ctx, err) < 0)
		return -1;
	dir = store_kernel_dir(&ctx->store, name);
	if (!fs_exists(dir)) {
		error_set(err, ERR_NOT_FOUND, "there is no kernel '%s' here", name);
		return error_hint(err, "see which there are: ember kernel list");
	}
	if (store_lock_op(&ctx->store, "kernel", name, &lock, err) < 0 ||
	    store_lock_op(&ctx->store, "kernels", name, &users, err) < 0)
		return -1;
	/* As it is now: it may have become the default one meanwhile. */
	config_release(&ctx->config);
	if (context_load(ctx, err) < 0 || refuse_used(ctx, name, err) < 0)
		return -1;
	kernels = store_path(&ctx->store, "kernels");
	/* Kernels have no id; under the lock of the name there is only this one. */
	trash = store_trash_dir(&ctx->store, "kernel", name, "00000000");
	log = kernels_log_path(&ctx->store, name);
	if (leftover_destroy(ctx, trash, err) < 0 || failpoint("kernel.delete.hide", err) < 0 ||
	    fs_rename(dir, trash, err) < 0 ||
	    (change_end(ctx, kernels) && leftover_destroy(ctx, trash, err) < 0))
		return error_wrap(err, "delete kernel '%s'", name);
	return fs_remove(log, err);
}

int ops_kernel_set_default(Context *ctx, const char *wish, Error **err)
{
	auto_free char *kernel = xstrdup(wish);
	auto_fd lock = -1;
	auto_fd kernel_lock = -1;

	if (context_load(ctx, err) < 0 || change_begin(ctx, err) < 0 ||
	    store_lock_op(&ctx->store, "store", "config", &lock, err) < 0)
		return -1;
	/* As it is now: another command may have chosen meanwhile. */
	config_release(&ctx->config);
	if (context_load(ctx, err) < 0 || kernel_hold(ctx, wish, &kernel_lock, err) < 0 ||
	    kernel_wish_absolute(&kernel, err) < 0)
		return -1;
	if (str_equal(ctx->config.kernel, kernel))
		return 0;
	free(ctx->config.kernel);
	ctx->config.kernel = steal(&kernel);
	if (failpoint("kernel.default", err) < 0 ||
	    store_write_config(&ctx->store, &ctx->config, err) < 0)
		return error_wrap(err, "make '%s' the default kernel", wish);
	return 0;
}
