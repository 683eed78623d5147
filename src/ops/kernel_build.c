/*
 * Kernels of our own: compiled from the distribution's source with ember's fragment.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/build.h"
#include "kernel/kbuild.h"
#include "ops/kernel.h"
#include "ops/kernel_make.h"
#include "ops/reconcile.h"
#include "state/kernels.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* One build. */
typedef struct Work {
	Context *ctx;
	const char *name;
	const KernelBuildOptions *options;
	KernelSource source;
	Fragment fragment;
	char *toolchain;
	Kernel former;	     /* empty: there is none */
	char *former_recipe; /* NULL: none, or it was not built */
} Work;

static void work_release(Work *work)
{
	kernel_source_release(&work->source);
	fragment_release(&work->fragment);
	free(work->toolchain);
	kernel_release(&work->former);
	free(work->former_recipe);
}

/* Ours, what this machine needs besides, and the user's: later ones win. */
static int read_fragments(Work *work, Error **err)
{
	auto_free char *machine = xasprintf("ember-%s.fragment", os_machine());
	const char *const parts[] = { "ember.fragment", machine };
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		auto_free char *path = NULL;

		if (context_data(parts[i], &path, err) < 0 ||
		    fragment_add_file(&work->fragment, path, err) < 0)
			return -1;
	}
	if (!work->options->config)
		return 0;
	if (stat(work->options->config, &st) == 0 && !S_ISREG(st.st_mode)) {
		error_set(err, ERR_USAGE, "'%s' is not a file", work->options->config);
		return error_hint(err, "name a file of lines like CONFIG_NAME=y");
	}
	if (fragment_add_file(&work->fragment, work->options->config, err) < 0)
		return error_hint(err, "name a file of lines like CONFIG_NAME=y");
	return 0;
}

/* All that can be wrong with the wish itself, before anything is made. */
static int look(Work *work, Error **err)
{
	if (kernel_check_name(work->name, err) < 0 || read_fragments(work, err) < 0 ||
	    kernel_source_find(work->options->source, work->options->refresh, &work->source, err) <
		    0 ||
	    kernel_build_check_paths(&work->source, work->ctx->store.dir, err) < 0 ||
	    kernel_build_check_tools(&work->source, err) < 0)
		return -1;
	return kbuild_toolchain(&work->toolchain, err);
}

static int read_former(Work *work, Error **err)
{
	const Store *store = &work->ctx->store;
	auto_free char *dir = store_kernel_dir(store, work->name);

	if (!fs_exists(dir))
		return 0;
	work->former_recipe = kernels_read_recipe(store, work->name);
	if (work->former_recipe)
		return kernels_read(store, work->name, &work->former, err);
	error_set(err, ERR_EXISTS, "kernel '%s' is here, and was not built", work->name);
	return error_hint(err, "build one of another name, or: ember kernel delete %s", work->name);
}

static char *apt_dir(const Work *work)
{
	return store_path(&work->ctx->store, "kernels/.apt");
}

/* Which source the archive has now. */
static int look_up(Work *work, Error **err)
{
	auto_free char *apt = apt_dir(work);
	auto_fd lock = -1;

	report_step(work->ctx, "look up the kernel's source");
	if (kernel_lock_archive(work->ctx, &lock, err) < 0 || fs_mkdir(apt, 0700, err) < 0 ||
	    kernel_source_look_up(&work->source, apt, err) < 0)
		return error_wrap(err, "look up the kernel's source");
	return 0;
}

/* Whether the archive has a newer source is asked when there is no kernel yet, or when the user says so: it takes the
 * network. Until then the source is the one of the former build. 1: known by assumption, 0: known, -1. */
static int settle_identity(Work *work, Error **err)
{
	KernelSource *source = &work->source;

	if (source->identity)
		return 0;
	source->identity = work->options->refresh ? NULL
						  : kernel_recipe_source(work->former_recipe);
	if (kernel_source_is_package(source->identity))
		return 1;
	return look_up(work, err);
}

static int fetch(Work *work, const KernelWork *dirs, Error **err)
{
	auto_free char *apt = apt_dir(work);
	auto_free char *package = path_join(dirs->scratch, "package");
	auto_fd lock = -1;

	report_step(work->ctx, "fetch the kernel's source");
	if (kernel_lock_archive(work->ctx, &lock, err) < 0 ||
	    failpoint("kernel.build.fetch", err) < 0 ||
	    kernel_source_fetch(&work->source, apt, package, err) < 0)
		return error_wrap(err, "fetch the kernel's source");
	return 0;
}

static void on_step(void *arg, const char *text)
{
	const Work *work = arg;

	report_step(work->ctx, "%s", text);
}

/* How many there are is known from the former build only. */
static void on_files(void *arg, uint64_t done)
{
	const Work *work = arg;
	unsigned long long files = done, total = work->former.build_files;

	if (total >= files)
		report_retitle(work->ctx, "compile the kernel (%llu of about %llu files)", files,
			       total);
	else
		report_retitle(work->ctx, "compile the kernel (%llu files)", files);
}

/* What the compiler said is worth keeping. Other failures are no matter of its output. */
static void keep_log(Work *work, const char *log, Error **err)
{
	auto_free char *kept = kernels_log_path(&work->ctx->store, work->name);

	if (!err || error_code(*err) != ERR_FAILED || !fs_exists(log) ||
	    fs_rename(log, kept, NULL) < 0)
		return;
	error_hint(err, "see the whole output: less %s", kept);
}

static int make(Work *work, KernelWork *dirs, Kernel *kernel, Error **err)
{
	Context *ctx = work->ctx;
	auto_free char *log = path_join(dirs->scratch, "build.log");
	auto_free char *kept = kernels_log_path(&ctx->store, work->name);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	KernelBuildRequest request = {
		.source = &work->source,
		.fragment = &work->fragment,
		.toolchain = work->toolchain,
		.arch = os_machine(),
		.work_dir = dirs->scratch,
		.target_dir = dirs->target,
		.log = log,
		.jobs = work->options->jobs ? work->options->jobs
			: cpus > 0	    ? (unsigned)cpus
					    : 1,
		.step = on_step,
		.files = on_files,
		.arg = work,
	};

	if (kernel_build_check_space(&work->source, dirs->scratch, err) < 0 ||
	    (work->source.package && fetch(work, dirs, err) < 0))
		return -1;
	if (kernel_build(&request, kernel, err) < 0) {
		keep_log(work, log, err);
		return -1;
	}
	kernel->name = xstrdup(work->name);
	if (kernel_work_commit(ctx, kernel, dirs, err) < 0)
		return -1;
	(void)fs_remove(kept, NULL);
	return 0;
}

static int build(Work *work, Error **err)
{
	CLEANUP(kernel_work_release) KernelWork dirs = { 0 };
	auto_kernel Kernel kernel = { 0 };
	int result;

	if (kernel_work_begin(work->ctx, work->name, &dirs, err) < 0)
		return error_wrap(err, "build kernel '%s'", work->name);
	result = make(work, &dirs, &kernel, err);
	if (result == 0)
		report_step(work->ctx, "clean up");
	kernel_work_end(work->ctx, &dirs);
	return result < 0 ? error_wrap(err, "build kernel '%s'", work->name) : 0;
}

/* 1: there is one already that was made from the same, 0: not, -1. */
static int is_built(Work *work, Error **err)
{
	auto_free char *recipe = NULL;
	int is_assumed = settle_identity(work, err);

	if (is_assumed < 0)
		return -1;
	recipe = kernel_recipe(&work->source, &work->fragment, work->toolchain, os_machine());
	if (str_equal(recipe, work->former_recipe))
		return 1;
	return is_assumed ? look_up(work, err) : 0;
}

int ops_kernel_build(Context *ctx, const char *name, const KernelBuildOptions *options,
		     Kernel *out_kernel, bool *out_existed, Error **err)
{
	CLEANUP(work_release)
	Work work = { .ctx = ctx, .name = name ? name : KERNEL_EMBER, .options = options };
	auto_fd lock = -1;
	int found;

	if (look(&work, err) < 0 || context_load_or_init(ctx, err) < 0 ||
	    change_begin(ctx, err) < 0 ||
	    store_lock_op(&ctx->store, "kernel", work.name, &lock, err) < 0 ||
	    read_former(&work, err) < 0)
		return -1;
	found = is_built(&work, err);
	if (found < 0 || (!found && build(&work, err) < 0))
		return -1;
	*out_existed = found;
	report_done(ctx);
	if (options->make_default && ops_kernel_set_default(ctx, work.name, err) < 0)
		return -1;
	return ops_kernel_find(ctx, work.name, out_kernel, err);
}
