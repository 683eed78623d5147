#include "ops/kernel_make.h"

#include <errno.h>
#include <string.h>

#include "model/vm.h"
#include "ops/kernel.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "state/kernels.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

void kernel_work_release(KernelWork *work)
{
	free(work->dir);
	free(work->target);
	free(work->scratch);
	*work = (KernelWork){ 0 };
}

int kernel_check_name(const char *name, Error **err)
{
	if (name_check("kernel", name, err) < 0)
		return -1;
	if (strcmp(name, KERNEL_STOCK) != 0)
		return 0;
	error_set(err, ERR_USAGE, "'" KERNEL_STOCK "' is the distribution's kernel");
	return error_hint(err, "choose another name");
}

int kernel_work_begin(Context *ctx, const char *name, KernelWork *out_work, Error **err)
{
	CLEANUP(kernel_work_release) KernelWork work = { 0 };

	work.dir = store_tmp_dir(&ctx->store, "kernel", name);
	work.target = path_join(work.dir, "kernel");
	work.scratch = kernels_work_dir(&ctx->store, name);
	if (leftover_destroy(ctx, work.dir, err) < 0 || failpoint("kernel.intent", err) < 0 ||
	    fs_mkdir(work.dir, 0700, err) < 0 || fs_mkdir(work.target, 0700, err) < 0 ||
	    fs_mkdir(work.scratch, 0700, err) < 0)
		return -1;
	*out_work = work;
	work = (KernelWork){ 0 };
	return 0;
}

int kernel_work_commit(Context *ctx, const Kernel *kernel, KernelWork *work, Error **err)
{
	auto_free char *dir = store_kernel_dir(&ctx->store, kernel->name);
	auto_free char *kernels = store_path(&ctx->store, "kernels");

	if (failpoint("kernel.make.record", err) < 0 ||
	    kernels_write_at(work->target, kernel, err) < 0)
		return -1;
	if (!fs_exists(dir)) {
		if (failpoint("kernel.make.commit", err) < 0 ||
		    fs_rename_new(work->target, dir, err) < 0)
			return -1;
	} else {
		if (failpoint("kernel.make.exchange", err) < 0)
			return -1;
		if (os_rename_exchange(work->target, dir) < 0)
			return error_set_errno(err, errno, "replace '%s'", dir);
	}
	/* The former one, if any, is in tmp/ now. */
	if (!change_end(ctx, kernels))
		str_assign(&work->dir, NULL);
	return 0;
}

void kernel_work_end(Context *ctx, const KernelWork *work)
{
	auto_error undo = NULL;

	if (work->dir && leftover_destroy(ctx, work->dir, &undo) < 0)
		report_warning_error(ctx, &undo, "remove '%s' (ember reconcile will finish it)",
				     work->dir);
}
