#include "ops/kernel.h"

#include <string.h>
#include <sys/stat.h>

#include "kernel/magic.h"
#include "kernel/stock.h"
#include "model/vm.h"
#include "ops/reconcile.h"
#include "state/kernels.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* Another terminal may be fetching it: wait for that rather than fetch twice. */
#define FETCH_WAIT_MS 300000

static const char *default_name(const Context *ctx)
{
	return ctx->config.kernel ? ctx->config.kernel : KERNEL_STOCK;
}

int ops_kernel_list(Context *ctx, KernelList *out_list, Error **err)
{
	if (!store_is_initialized(&ctx->store))
		return 0;
	if (context_load(ctx, err) < 0 || kernels_list(&ctx->store, out_list, err) < 0)
		return -1;
	for (size_t i = 0; i < out_list->count; i++)
		out_list->items[i].is_default = !strcmp(out_list->items[i].name, default_name(ctx));
	return 0;
}

static bool is_path(const char *wish)
{
	return strchr(wish, '/') != NULL;
}

int ops_kernel_find(Context *ctx, const char *name, Kernel *out_kernel, Error **err)
{
	if (kernels_read(&ctx->store, name, out_kernel, err) < 0)
		return -1;
	out_kernel->is_default = !strcmp(name, default_name(ctx));
	return 0;
}

static int refuse_unknown(Context *ctx, const char *name, Error **err)
{
	auto_kernel_list KernelList known = { 0 };
	auto_strv Strv names = { 0 };
	auto_free char *list = NULL;

	strv_push(&names, KERNEL_STOCK);
	if (kernels_list(&ctx->store, &known, err) < 0)
		return -1;
	for (size_t i = 0; i < known.count; i++)
		if (!strv_has(&names, known.items[i].name))
			strv_push(&names, known.items[i].name);
	list = strv_join(&names, ", ");
	error_set(err, ERR_NOT_FOUND, "there is no kernel '%s'", name);
	if (!strcmp(name, KERNEL_EMBER))
		return error_hint(err, "make it: ember kernel build");
	return error_hint(err, "there are: %s; or name a file: ./%s", list, name);
}

int ops_kernel_check(Context *ctx, const char *wish, Error **err)
{
	auto_free char *record = NULL;
	KernelFormat format;

	if (!wish || !strcmp(wish, KERNEL_STOCK))
		return 0;
	if (is_path(wish))
		return kernel_format_of(wish, &format, err);
	if (name_check("kernel", wish, err) < 0)
		return -1;
	record = xasprintf("%s/kernels/%s/kernel.json", ctx->store.dir, wish);
	return fs_exists(record) ? 0 : refuse_unknown(ctx, wish, err);
}

int kernel_hold(Context *ctx, const char *wish, int *out_lock, Error **err)
{
	auto_fd lock = -1;

	/* A mistyped name leaves no lock file behind. */
	if (ops_kernel_check(ctx, wish, err) < 0)
		return -1;
	if (!wish || !strcmp(wish, KERNEL_STOCK) || is_path(wish))
		return 0;
	if (store_lock_source(&ctx->store, "kernels", wish, &lock, err) < 0 ||
	    ops_kernel_check(ctx, wish, err) < 0)
		return -1;
	*out_lock = steal_fd(&lock);
	return 0;
}

static void on_step(void *arg, const char *text)
{
	report_step(arg, "%s", text);
}

int kernel_lock_archive(Context *ctx, int *out_fd, Error **err)
{
	/* No kernel can have that name. */
	int got = store_lock(&ctx->store, "kernel", ".apt", LOCK_EXCLUSIVE,
			     deadline_in_ms(FETCH_WAIT_MS), out_fd, err);

	if (got < 0)
		return -1;
	if (got)
		return 0;
	error_set(err, ERR_BUSY, "another ember command is still fetching a kernel");
	return error_hint(err, "wait for it to finish, then try again");
}

/* tmp/kernel:stock/ -> kernels/stock/, by a rename. The caller holds the kernel's lock. */
static int fetch_stock(Context *ctx, Error **err)
{
	auto_free char *target = store_tmp_dir(&ctx->store, "kernel", KERNEL_STOCK);
	auto_free char *dir = store_kernel_dir(&ctx->store, KERNEL_STOCK);
	auto_free char *parent = store_path(&ctx->store, "kernels");
	auto_free char *boot = NULL;
	auto_free char *work = store_path(&ctx->store, "kernels/.apt");
	auto_kernel Kernel kernel = { 0 };
	auto_fd archive = -1;
	StockRequest request = { .work_dir = work,
				 .target_dir = target,
				 .arch = os_machine(),
				 .step = on_step,
				 .arg = ctx };

	if (context_helper("ember-boot", &boot, err) < 0 ||
	    kernel_lock_archive(ctx, &archive, err) < 0 || fs_remove_tree(target, err) < 0 ||
	    failpoint("kernel.fetch", err) < 0 || fs_mkdir(target, 0700, err) < 0 ||
	    fs_mkdir(work, 0700, err) < 0)
		return -1;
	request.boot_program = boot;
	if (stock_kernel_fetch(&request, &kernel, err) < 0)
		goto undo;
	kernel.name = xstrdup(KERNEL_STOCK);
	if (failpoint("kernel.record", err) < 0 || kernels_write_at(target, &kernel, err) < 0 ||
	    failpoint("kernel.commit", err) < 0 || fs_remove_tree(dir, err) < 0 ||
	    fs_rename_new(target, dir, err) < 0)
		goto undo;
	report_done(ctx);
	(void)change_end(ctx, parent);
	return 0;
undo:
	(void)fs_remove_tree(target, NULL);
	return -1;
}

static int resolve_stock(Context *ctx, Kernel *out_kernel, Error **err)
{
	auto_fd lock = -1;
	int got;

	if (kernels_read(&ctx->store, KERNEL_STOCK, out_kernel, NULL) == 0)
		return 0;
	got = store_lock(&ctx->store, "kernel", KERNEL_STOCK, LOCK_EXCLUSIVE,
			 deadline_in_ms(FETCH_WAIT_MS), &lock, err);
	if (got < 0)
		return -1;
	if (!got) {
		error_set(err, ERR_BUSY,
			  "another ember command is still fetching the stock kernel");
		return error_hint(err, "wait for it to finish, then try again");
	}
	if (kernels_read(&ctx->store, KERNEL_STOCK, out_kernel, NULL) == 0)
		return 0;
	if (fetch_stock(ctx, err) < 0)
		return error_wrap(err, "get the stock kernel");
	return kernels_read(&ctx->store, KERNEL_STOCK, out_kernel, err);
}

static int resolve_path(const char *path, Kernel *out_kernel, Error **err)
{
	KernelFormat format;
	struct stat st;
	auto_free char *absolute = NULL;

	if (kernel_format_of(path, &format, err) < 0 || path_absolute(path, &absolute, err) < 0)
		return -1;
	*out_kernel =
		(Kernel){ .name = xstrdup(path_basename(path)), .arch = xstrdup(os_machine()) };
	if (stat(absolute, &st) == 0)
		out_kernel->size_bytes = (unsigned long long)st.st_size;
	out_kernel->path = steal(&absolute);
	return 0;
}

int ops_kernel_resolve(Context *ctx, const char *wish, Kernel *out_kernel, Error **err)
{
	if (!wish)
		wish = default_name(ctx);
	if (is_path(wish))
		return resolve_path(wish, out_kernel, err);
	if (!strcmp(wish, KERNEL_STOCK))
		return resolve_stock(ctx, out_kernel, err);
	if (ops_kernel_check(ctx, wish, err) < 0)
		return -1;
	return kernels_read(&ctx->store, wish, out_kernel, err);
}

int kernel_wish_absolute(char **wish, Error **err)
{
	char *absolute = NULL;

	if (!*wish || !is_path(*wish))
		return 0;
	if (path_absolute(*wish, &absolute, err) < 0)
		return -1;
	free(*wish);
	*wish = absolute;
	return 0;
}

int kernel_wish_for(Vm *vm, const char *wish, Error **err)
{
	auto_free char *kernel = xstrdup_null(wish);

	if (kernel_wish_absolute(&kernel, err) < 0)
		return -1;
	vm_wish_kernel(vm, kernel);
	return 0;
}
