/*
 * Making and unmaking an installation.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/registry.h"
#include "model/size.h"
#include "model/uuid.h"
#include "ops/kernel.h"
#include "ops/reconcile.h"
#include "ops/system.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

/* Of a store; far beyond any disk, and below what filesystems refuse in words of their own. */
#define SIZE_MOST_BYTES (1024ULL << 40)

void init_result_release(InitResult *result)
{
	free(result->storage_reason);
	free(result->hypervisor_reason);
	free(result->network_reason);
	*result = (InitResult){ 0 };
}

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, "auto");
}

/* Only a store of ember's own has a file and a size, and only some are in a pool. */
static int check_store_options(const InitOptions *options, Error **err)
{
	const StorageBackend *storage = storage_backend_find(options->storage, err);

	if (!storage)
		return -1;
	if (!storage->has_pool && (options->pool || options->dataset)) {
		error_set(err, ERR_USAGE, "%s storage takes no %s", storage->name,
			  options->pool ? "--pool" : "--dataset");
		return error_hint(err, "leave it out, or take the one that does: --storage zfs");
	}
	if (options->pool && options->size_bytes && !options->storage_path) {
		error_set(err, ERR_USAGE, "the pool '%s' has a size already", options->pool);
		return error_hint(err, "leave out --size, or --pool to have a pool made in a file");
	}
	if (storage->has_own_store || (!options->size_bytes && !options->storage_path))
		return 0;
	error_set(err, ERR_USAGE, "%s storage takes no %s", storage->name,
		  options->size_bytes ? "--size" : "--storage-path");
	return error_hint(err, "leave it out, or have a store made: ember init --storage btrfs");
}

static int check_device(const char *device, Error **err)
{
	struct stat st;

	if (stat(device, &st) < 0) {
		error_set(err, ERR_NOT_FOUND, "there is no device '%s'", device);
		return error_hint(err, "see which there are: lsblk");
	}
	if (S_ISBLK(st.st_mode))
		return 0;
	error_set(err, ERR_USAGE, "'%s' is not a block device", device);
	if (S_ISDIR(st.st_mode))
		return error_hint(err, "for a store in a file: --storage-path '%s/store.img'",
				  device);
	return error_hint(err, "for a store in a file: --storage-path '%s'", device);
}

/* A device is a place like another, and it or a pool means ZFS where nothing else is said. */
static int settle_options(const InitOptions *options, InitOptions *out_settled, Error **err)
{
	InitOptions settled = *options;

	if (options->device && options->storage_path) {
		error_set(err, ERR_USAGE, "a store is in one place: '%s' or '%s'", options->device,
			  options->storage_path);
		return error_hint(err, "leave out --device or --storage-path");
	}
	if (options->device) {
		if (check_device(options->device, err) < 0)
			return -1;
		settled.storage_path = options->device;
	}
	if (is_auto(options->storage) && (options->pool || options->device || options->dataset))
		settled.storage = "zfs";
	*out_settled = settled;
	return 0;
}

static int check_path(const char *path, Error **err)
{
	auto_free char *dir = path_dirname(path);
	struct stat st;

	if (str_starts_with(path, "/dev/") && !fs_exists(path)) {
		error_set(err, ERR_NOT_FOUND, "there is no device '%s'", path);
		return error_hint(err, "see which there are: lsblk");
	}
	if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	error_set(err, ERR_NOT_FOUND, "there is no directory '%s'", dir);
	return error_hint(err, "make it first, or name another place: --storage-path PATH");
}

static int check_options(Context *ctx, const InitOptions *options, Error **err)
{
	const char *id = options->instance_id;

	if (!is_auto(options->storage) && check_store_options(options, err) < 0)
		return -1;
	if (!is_auto(options->hypervisor) && !hypervisor_backend_find(options->hypervisor, err))
		return -1;
	if (!is_auto(options->network) && !network_backend_find(options->network, err))
		return -1;
	if (id && (strlen(id) != 4 || strspn(id, "0123456789abcdef") != 4)) {
		error_set(err, ERR_USAGE, "--instance-id must be exactly 4 hex digits");
		return error_hint(err, "for example --instance-id 3f2a, or leave it out");
	}
	if (options->storage_path && check_path(options->storage_path, err) < 0)
		return -1;
	if (options->size_bytes > SIZE_MOST_BYTES) {
		error_set(err, ERR_USAGE, "--size is at most 1024T");
		return error_hint(err, "ask for less, for example --size 8T: a store grows later");
	}
	return ops_kernel_check(ctx, options->kernel, err);
}

static int check_programs(const StorageBackend *storage, Error **err)
{
	for (const char *const *program = storage->programs; program && *program; program++) {
		auto_free char *found = program_find_admin(*program);
		auto_free char *hint = NULL;

		if (found)
			continue;
		hint = program_install_hint(*program);
		error_set(err, ERR_MISSING_TOOL, "%s storage needs '%s', which is not installed",
			  storage->name, *program);
		return error_hint(err, "%s", hint);
	}
	return 0;
}

/* Why it cannot be used, with the code of the obstacle that is nearest to the user. */
static int refuse_storage(const StorageBackend *chosen, const StorageSite *site, const char *reason,
			  Error **err)
{
	if (chosen->needs_root && geteuid() != 0) {
		error_set(err, ERR_DENIED, "%s storage cannot be used here: %s", chosen->name,
			  reason);
		return error_hint(err, "without root: ember init --storage qcow2");
	}
	if (check_programs(chosen, err) < 0)
		return -1;
	if (chosen->check_place && chosen->check_place(site, err) < 0)
		return error_wrap(err, "make a store of %s", chosen->name);
	error_set(err, ERR_UNSUPPORTED, "%s storage cannot be used here: %s", chosen->name, reason);
	return error_hint(err, "let ember choose: ember init --storage auto");
}

static int choose_storage(Context *ctx, const InitOptions *options, InitResult *result, Error **err)
{
	const StorageBackend *chosen;
	int usable;

	context_set_site(ctx);
	if (is_auto(options->storage)) {
		chosen = storage_backend_choose(&ctx->site, &result->storage_reason, err);
		if (!chosen)
			return -1;
	} else {
		chosen = storage_backend_find(options->storage, err);
		usable = chosen->probe(&ctx->site, &result->storage_reason, err);
		if (usable < 0)
			return -1;
		if (!usable)
			return refuse_storage(chosen, &ctx->site, result->storage_reason, err);
	}
	ctx->storage = chosen;
	ctx->config.storage = xstrdup(chosen->name);
	return 0;
}

/* Hypervisor and network may change from one start to the next (`auto`), so only a wish is recorded. What `auto` would
 * take now is said, and that nothing can run VMs yet is no reason not to initialize. */
static int describe_auto(const InitOptions *options, InitResult *result, Error **err)
{
	auto_error none = NULL;

	if (is_auto(options->hypervisor) &&
	    !hypervisor_backend_choose(&result->hypervisor_reason, &none)) {
		free(result->hypervisor_reason);
		result->hypervisor_reason = error_sentence(none);
	}
	if (is_auto(options->network) && !network_backend_choose(&result->network_reason, err))
		return -1;
	return 0;
}

/* Images of a former installation whose volumes are not in this store (another back end was chosen) are forgotten. */
static int drop_lost_images(Context *ctx, Error **err)
{
	auto_image_list ImageList images = { 0 };
	auto_strv Strv volumes = { 0 };

	if (records_list_images(&ctx->store, &images, err) < 0 || !images.count)
		return 0;
	if (context_open_storage(ctx, err) < 0 || ctx->storage->list(ctx->pool, &volumes, err) < 0)
		return -1;
	for (size_t i = 0; i < images.count; i++) {
		auto_free char *dir = store_image_dir(&ctx->store, images.items[i].name);

		/* One that cannot be read may still be mended: `image list` shows it. */
		if (!images.items[i].id || strv_has(&volumes, images.items[i].id))
			continue;
		report_warning(
			ctx,
			"image '%s' of the former installation has no disk in this store; it is forgotten",
			images.items[i].name);
		if (fs_remove_tree(dir, err) < 0)
			return -1;
	}
	return 0;
}

static void fill_config(Context *ctx, const InitOptions *options)
{
	Config *config = &ctx->config;

	config->instance_id =
		options->instance_id
			? xstrdup(options->instance_id)
			: xasprintf("%04x", (unsigned)(hash_text(ctx->store.dir) >> 16 & 0xffff));
	config->storage_size_bytes = options->size_bytes;
	config->storage_pool = xstrdup_null(options->pool);
	config->storage_dataset = xstrdup_null(options->dataset);
	config->kernel = xstrdup_null(options->kernel);
	config->hypervisor = xstrdup(options->hypervisor ? options->hypervisor : "auto");
	config->network = xstrdup(options->network ? options->network : "auto");
	config->created_at = time_text_now();
}

static int refuse_initialized(const Context *ctx, Error **err)
{
	error_set(err, ERR_EXISTS, "'%s' is already initialized", ctx->store.dir);
	return error_hint(err, "use it as it is, or start again: ember deinit");
}

/* The commit is config.json; a store that was made here before it fails is unmade. One that could not be made, or taken
 * over, is the back end's to unmake: it knows whose it is. */
static int make_store(Context *ctx, InitResult *result, Error **err)
{
	auto_error undo = NULL;
	bool made = false;

	if (failpoint("init.storage", err) < 0)
		return -1;
	if (ctx->storage->init(&ctx->site, &result->adopted, err) == 0) {
		made = !result->adopted;
		if (drop_lost_images(ctx, err) == 0 && failpoint("init.config", err) == 0 &&
		    store_write_config(&ctx->store, &ctx->config, err) == 0)
			return 0;
	}
	context_close_storage(ctx);
	if (ctx->storage->deinit(&ctx->site, /* purge= */ made, &undo) < 0)
		report_warning_error(ctx, &undo, "undo the %s storage", ctx->storage->name);
	return error_wrap(err, "prepare %s storage", ctx->storage->name);
}

static int choose_and_make(Context *ctx, const InitOptions *options, InitResult *result,
			   Error **err)
{
	fill_config(ctx, options);
	if (kernel_wish_absolute(&ctx->config.kernel, err) < 0 ||
	    (options->storage_path &&
	     path_absolute(options->storage_path, &ctx->config.storage_path, err) < 0) ||
	    choose_storage(ctx, options, result, err) < 0 ||
	    describe_auto(options, result, err) < 0)
		return -1;
	report_step(ctx, "prepare %s storage", ctx->storage->name);
	if (make_store(ctx, result, err) < 0)
		return -1;
	report_done(ctx);
	return 0;
}

/* A refused init leaves nothing where there was nothing. Under the lock, so that it is nobody else's either. */
static int initialize(Context *ctx, const InitOptions *options, InitResult *result, Error **err)
{
	bool is_new = store_check_mark(&ctx->store, NULL) < 0;
	bool had_dir = fs_exists(ctx->store.dir);
	auto_error undo = NULL;
	auto_fd lock = -1;

	if (failpoint("init.dirs", err) < 0 || store_make_dirs(&ctx->store, err) < 0 ||
	    store_lock_op(&ctx->store, "store", "init", &lock, err) < 0)
		return -1;
	if (store_is_initialized(&ctx->store))
		return refuse_initialized(ctx, err);
	if (choose_and_make(ctx, options, result, err) == 0)
		return 0;
	context_close_storage(ctx);
	if (is_new && store_unmake(&ctx->store, !had_dir, &undo) < 0)
		report_warning_error(ctx, &undo, "remove what was made in '%s'", ctx->store.dir);
	return -1;
}

int ops_init(Context *ctx, const InitOptions *options, InitResult *out_result, Error **err)
{
	CLEANUP(init_result_release) InitResult result = { 0 };
	InitOptions settled;

	if (store_is_initialized(&ctx->store))
		return refuse_initialized(ctx, err);
	if (settle_options(options, &settled, err) < 0 || check_options(ctx, &settled, err) < 0)
		return -1;
	if (initialize(ctx, &settled, &result, err) < 0) {
		context_close_storage(ctx);
		config_release(&ctx->config);
		return -1;
	}
	*out_result = result;
	result = (InitResult){ 0 };
	return 0;
}

static int refuse_with_vms(Context *ctx, Error **err)
{
	auto_vm_list VmList vms = { 0 };
	auto_strv Strv names = { 0 };
	auto_free char *joined = NULL;

	if (records_list_vms(&ctx->store, &vms, err) < 0)
		return -1;
	if (!vms.count)
		return 0;
	for (size_t i = 0; i < vms.count; i++)
		strv_push(&names, vms.items[i].name);
	joined = strv_join(&names, ", ");
	error_set(err, ERR_BUSY, "there are still VMs: %s", joined);
	return error_hint(err, "remove them first: ember vm delete --force --all");
}

/* Nobody makes, changes or removes anything while both are held (change_begin takes the second one shared). */
static int lock_out_everybody(Context *ctx, int *out_init_lock, int *out_use_lock, Error **err)
{
	if (store_lock_op(&ctx->store, "store", "init", out_init_lock, err) < 0)
		return -1;
	return store_lock_op(&ctx->store, "store", "use", out_use_lock, err);
}

/* Leave the storage in order. A store that is gone, as after a purge that was cut off, is no reason to stop. */
static int leave_storage(Context *ctx, bool with_purge, Error **err)
{
	auto_error cause = NULL;

	if (reconcile_alone(ctx, &cause) < 0 && error_code(cause) != ERR_NOT_FOUND) {
		error_move(err, &cause);
		return -1;
	}
	context_close_storage(ctx);
	ctx->storage = storage_backend_find(ctx->config.storage, err);
	if (!ctx->storage || failpoint("deinit.storage", err) < 0 ||
	    ctx->storage->deinit(&ctx->site, with_purge, err) < 0)
		return error_wrap(err, "let go of the storage");
	return 0;
}

/* Is there something to take down? A purge takes what an earlier deinit has kept, too. */
static bool is_there(const Context *ctx, bool with_purge)
{
	return store_is_initialized(&ctx->store) || (with_purge && store_has_kept(&ctx->store));
}

static int take_down(Context *ctx, bool with_purge, Error **err)
{
	auto_error unreadable = NULL;

	if (refuse_with_vms(ctx, err) < 0 || (with_purge && store_check_mark(&ctx->store, err) < 0))
		return -1;
	if (!store_is_initialized(&ctx->store) && store_recall(&ctx->store, err) < 0)
		return -1;
	if (context_load(ctx, &unreadable) < 0)
		report_warning_error(ctx, &unreadable, "the storage is left as it is");
	else if (leave_storage(ctx, with_purge, err) < 0)
		return -1;
	if (fs_remove_tree(ctx->store.run_dir, err) < 0 || failpoint("deinit.config", err) < 0)
		return -1;
	return with_purge ? store_purge(&ctx->store, err) : store_keep(&ctx->store, err);
}

int ops_deinit(Context *ctx, bool with_purge, bool *out_was_there, Error **err)
{
	auto_fd init_lock = -1;
	auto_fd use_lock = -1;

	*out_was_there = is_there(ctx, with_purge);
	if (!*out_was_there)
		return 0;
	if (lock_out_everybody(ctx, &init_lock, &use_lock, err) < 0)
		return -1;
	*out_was_there = is_there(ctx, with_purge);
	return *out_was_there ? take_down(ctx, with_purge, err) : 0;
}
