#include "ops/context.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/registry.h"
#include "ops/system.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

int context_init(Context *ctx, const char *state_dir_flag, Error **err)
{
	auto_free char *dir = NULL;

	if (store_default_dir(state_dir_flag, &dir, err) < 0 ||
	    store_open(dir, &ctx->store, err) < 0)
		return -1;
	return 0;
}

void context_release(Context *ctx)
{
	context_close_storage(ctx);
	if (ctx->has_use_lock)
		(void)close(ctx->use_lock);
	free(ctx->store_dir);
	config_release(&ctx->config);
	store_release(&ctx->store);
	*ctx = (Context){ 0 };
}

void context_set_site(Context *ctx)
{
	free(ctx->store_dir);
	ctx->store_dir = store_path(&ctx->store, "store");
	ctx->site = (StorageSite){ .state_dir = ctx->store.dir,
				   .store_dir = ctx->store_dir,
				   .path = ctx->config.storage_path,
				   .pool = ctx->config.storage_pool,
				   .dataset = ctx->config.storage_dataset,
				   .size_bytes = ctx->config.storage_size_bytes,
				   .instance_id = ctx->config.instance_id };
}

int context_load(Context *ctx, Error **err)
{
	if (ctx->config.instance_id)
		return 0;
	if (store_read_config(&ctx->store, &ctx->config, err) < 0)
		return -1;
	context_set_site(ctx);
	return 0;
}

int context_load_or_init(Context *ctx, Error **err)
{
	CLEANUP(init_result_release) InitResult chosen = { 0 };
	InitOptions automatic = { 0 };

	if (store_is_initialized(&ctx->store))
		return context_load(ctx, err);
	if (ops_init(ctx, &automatic, &chosen, err) < 0) {
		if (error_code(*err) != ERR_EXISTS)
			return error_wrap(err, "initialize '%s'", ctx->store.dir);
		error_clear(err); /* another terminal was faster: its choices are ours */
		return context_load(ctx, err);
	}
	report_warning(ctx, "initialized '%s' with %s storage: %s", ctx->store.dir,
		       ctx->config.storage, chosen.storage_reason);
	return 0;
}

int context_open_storage(Context *ctx, Error **err)
{
	if (ctx->pool)
		return 0;
	ctx->storage = storage_backend_find(ctx->config.storage, err);
	if (!ctx->storage)
		return -1;
	if (ctx->storage->open(&ctx->site, &ctx->pool, err) < 0)
		return error_wrap(err, "open %s storage", ctx->config.storage);
	return 0;
}

int context_attach_disk(Context *ctx, const char *volume, StorageDisk *out_disk, Error **err)
{
	if (context_open_storage(ctx, err) < 0)
		return -1;
	return ctx->storage->attach(ctx->pool, volume, out_disk, err);
}

void context_close_storage(Context *ctx)
{
	if (ctx->pool)
		ctx->storage->close(ctx->pool);
	ctx->pool = NULL;
}

/* In EMBER_LIBEXEC_DIR, or else beside the executable or where `make install` puts it. 1 found, 0 not. */
static int find_part(const char *name, const char *installed_dir, char **out_path, Error **err)
{
	auto_free char *own_dir = NULL;
	auto_free char *installed = NULL;
	const char *env = getenv("EMBER_LIBEXEC_DIR");
	const char *places[3] = { env };
	size_t count = 1;

	if (str_is_empty(env)) {
		if (os_executable_dir(&own_dir) < 0)
			return error_set(err, ERR_FAILED,
					 "find the directory of the ember program");
		installed = path_join(own_dir, installed_dir);
		places[0] = own_dir;
		places[count++] = installed;
	}
	for (size_t i = 0; i < count; i++) {
		auto_free char *path = path_join(places[i], name);

		if (access(path, R_OK) == 0) {
			*out_path = steal(&path);
			return 1;
		}
	}
	return 0;
}

int context_helper(const char *program, char **out_path, Error **err)
{
	int found = find_part(program, "../libexec/ember", out_path, err);

	if (found)
		return found > 0 ? 0 : -1;
	error_set(err, ERR_MISSING_TOOL, "ember's helper program '%s' is not installed", program);
	return error_hint(err, "install ember whole: make install");
}

int context_data(const char *file, char **out_path, Error **err)
{
	int found = find_part(file, "../share/ember", out_path, err);

	if (found)
		return found > 0 ? 0 : -1;
	error_set(err, ERR_MISSING_TOOL, "ember's file '%s' is not installed", file);
	return error_hint(err, "install ember whole: make install");
}

void report_step(const Context *ctx, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	if (!ctx->reporter.step)
		return;
	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	ctx->reporter.step(ctx->reporter.arg, text);
}

void report_bytes(const Context *ctx, uint64_t done, uint64_t total)
{
	if (ctx->reporter.bytes)
		ctx->reporter.bytes(ctx->reporter.arg, done, total);
}

void report_retitle(const Context *ctx, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	if (!ctx->reporter.retitle)
		return;
	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	ctx->reporter.retitle(ctx->reporter.arg, text);
}

void report_done(const Context *ctx)
{
	if (ctx->reporter.step)
		ctx->reporter.step(ctx->reporter.arg, NULL);
}

void report_warning(const Context *ctx, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	if (!ctx->reporter.warning)
		return;
	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	ctx->reporter.warning(ctx->reporter.arg, text);
}

bool report_line(const Context *ctx, const char *text)
{
	return ctx->reporter.line && ctx->reporter.line(ctx->reporter.arg, text);
}

void report_warning_error(const Context *ctx, Error **err, const char *fmt, ...)
{
	auto_free char *sentence = error_sentence(*err);
	auto_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	report_warning(ctx, "%s: %s", text, sentence);
	error_clear(err);
}

const StorageBackend *context_storage(Context *ctx)
{
	if (ctx->storage)
		return ctx->storage;
	if (!store_is_initialized(&ctx->store) || context_load(ctx, NULL) < 0)
		return NULL;
	return storage_backend_find(ctx->config.storage, NULL);
}

bool context_has_store(Context *ctx)
{
	const StorageBackend *storage = context_storage(ctx);
	auto_free char *reason = NULL;

	if (ctx->pool)
		return true;
	return storage && storage->check(&ctx->site, &reason, NULL) > 0;
}
