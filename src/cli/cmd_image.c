/*
 * Commands about images.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/commands_image.h"
#include "cli/each.h"
#include "cli/figures.h"
#include "model/size.h"
#include "ops/image.h"
#include "state/records.h"
#include "util/json.h"
#include "util/mem.h"

static void answer(App *app, const Image *image, bool existed, const char *success)
{
	if (app->out.is_json)
		output_json_take(&app->out, image_to_json(image));
	else if (existed)
		output_message(&app->out, "Image '%s' already exists.", image->name);
	else
		output_message(&app->out, "Image '%s' %s.", image->name, success);
}

int cmd_image_build(App *app, const Args *args, Error **err)
{
	const BuildArgs *opt = args->options;
	BuildOptions options = { .replace = opt->replace,
				 .variant = opt->variant,
				 .suite = opt->suite,
				 .mirror = opt->mirror,
				 .packages = &opt->packages,
				 .file = opt->file,
				 .context = args->count > 1 ? args->words[1] : NULL,
				 .build_args = &opt->build_args,
				 .target = opt->target,
				 .platform = opt->platform,
				 .engine = opt->engine,
				 .no_cache = opt->no_cache };
	auto_image Image image = { 0 };
	bool existed = false;

	if (ops_image_build(&app->ctx, args->words[0], &options, &image, &existed, err) < 0)
		return -1;
	answer(app, &image, existed, "built successfully");
	return 0;
}

/* On a command line everybody can read it; in the environment only its owner. */
const char *image_login(const char *option)
{
	const char *env = getenv("EMBER_CREDS");

	return option || str_is_empty(env) ? option : env;
}

static int pull_one(App *app, const char *reference, const void *arg, json_t **out_doc, Error **err)
{
	const PullOptions *options = arg;
	auto_image Image image = { 0 };
	bool existed = false;

	if (ops_image_pull(&app->ctx, reference, options, &image, &existed, err) < 0)
		return -1;
	if (app->out.is_json)
		*out_doc = image_to_json(&image);
	else if (existed && options->refresh)
		output_message(&app->out, "Image '%s' is up to date.", image.name);
	else if (existed)
		output_message(&app->out, "Image '%s' already exists.", image.name);
	else
		output_message(&app->out, "Image '%s' pulled successfully.", image.name);
	return 0;
}

int cmd_image_pull(App *app, const Args *args, Error **err)
{
	const PullArgs *opt = args->options;
	PullOptions options = { .name = opt->name,
				.platform = opt->platform,
				.creds = image_login(opt->creds),
				.plain_http = opt->tls_verify && !strcmp(opt->tls_verify, "false"),
				.refresh = opt->refresh,
				.timeout_s = (uint64_t)opt->timeout_s };

	if (opt->name && args->count > 1) {
		error_set(err, ERR_USAGE, "--name is for one image, but %zu were given",
			  args->count);
		return error_hint(err, "pull them one by one, or leave out --name");
	}
	return each_name(app, args->words, args->count, false, pull_one, &options, err);
}

int cmd_image_rename(App *app, const Args *args, Error **err)
{
	auto_image Image image = { 0 };

	if (ops_image_rename(&app->ctx, args->words[0], args->words[1], &image, err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, image_to_json(&image));
	else
		output_message(&app->out, "Image '%s' renamed to '%s'.", args->words[0],
			       image.name);
	return 0;
}

static void print_pruned(App *app, const PruneReport *report, bool dry_run)
{
	auto_free char *bytes = figure_text(report->image_bytes);
	auto_free char *images = bytes ? xasprintf(" (%s)", bytes) : xstrdup("");
	auto_free char *blobs = size_text(report->blob_bytes);
	const char *verb = dry_run ? "Would remove" : "Removed";

	if (report->images.count)
		output_message(&app->out, "%s %zu image%s%s:", verb, report->images.count,
			       report->images.count == 1 ? "" : "s", images);
	for (size_t i = 0; i < report->images.count; i++)
		output_message(&app->out, "  %s", report->images.items[i]);
	if (report->blobs)
		output_message(&app->out, "%s %llu blob%s (%s).", verb,
			       (unsigned long long)report->blobs, report->blobs == 1 ? "" : "s",
			       blobs);
	if (!report->images.count && !report->blobs)
		output_message(&app->out, "Nothing to remove.");
}

/* 1: do it, 0: there is nothing to remove, or it is not wanted; that is said. */
static int confirm_prune(App *app, const PruneArgs *opt, Error **err)
{
	auto_prune_report PruneReport report = { 0 };
	auto_free char *size = NULL;
	int wish;

	if (ops_image_prune(&app->ctx, opt->blobs, /* dry_run= */ true, &report, err) < 0)
		return -1;
	print_pruned(app, &report, /* dry_run= */ true);
	if (!report.images.count && !report.blobs)
		return 0;
	size = figure_text(prune_bytes(&report));
	wish = output_ask(&app->out, err, "Remove %zu image%s and %llu blob%s%s%s%s?",
			  report.images.count, report.images.count == 1 ? "" : "s",
			  (unsigned long long)report.blobs, report.blobs == 1 ? "" : "s",
			  size ? " (" : "", size ? size : "", size ? ")" : "");
	if (wish == 0)
		output_message(&app->out, "Nothing was removed.");
	return wish;
}

int cmd_image_prune(App *app, const Args *args, Error **err)
{
	const PruneArgs *opt = args->options;
	auto_prune_report PruneReport report = { 0 };
	json_t *doc;

	if (!opt->dry_run && !opt->yes && output_can_ask(&app->out)) {
		int wanted = confirm_prune(app, opt, err);

		if (wanted <= 0)
			return wanted;
	}
	if (ops_image_prune(&app->ctx, opt->blobs, opt->dry_run, &report, err) < 0)
		return -1;
	if (!app->out.is_json) {
		print_pruned(app, &report, opt->dry_run);
		return 0;
	}
	doc = json_object();
	json_put_strv(doc, "images", &report.images);
	json_put_take(doc, "image_bytes", figure_json(report.image_bytes));
	json_put_u64(doc, "blobs", report.blobs);
	json_put_u64(doc, "blob_bytes", report.blob_bytes);
	json_put_take(doc, "freed_bytes", figure_json(opt->dry_run ? 0 : prune_bytes(&report)));
	json_put_bool(doc, "dry_run", opt->dry_run);
	output_json_take(&app->out, doc);
	return 0;
}

/* What a digest is shown as in a table; JSON and inspect have all of it. */
#define DIGEST_DIGITS 12

static char *short_reference(const char *reference)
{
	const char *at = reference ? strstr(reference, "@sha256:") : NULL;
	size_t len = at ? (size_t)(at - reference) + strlen("@sha256:") + DIGEST_DIGITS : 0;

	return at && strlen(reference) > len ? xstrndup(reference, len) : xstrdup_null(reference);
}

static uint64_t referenced(const UsageReport *usage, const Image *image)
{
	return usage_find(usage, USAGE_IMAGE, image->name).referenced;
}

/* A record and what the store says about it. */
static json_t *document(const Image *image, const UsageReport *usage)
{
	json_t *doc = image_to_json(image);

	json_put_take(doc, "referenced_bytes", figure_json(referenced(usage, image)));
	return doc;
}

static void list_as_table(App *app, const ImageList *list, const UsageReport *usage)
{
	static const Column columns[] = { { "NAME", "name" },
					  { "REFERENCE", "reference" },
					  { "ARCH", "arch" },
					  { "SIZE", "size" },
					  { "REFERENCED", "referenced" },
					  { "AGE", "created_at" },
					  { 0 } };
	auto_table Table table = { 0 };

	table_init(&table, columns);
	for (size_t i = 0; i < list->count; i++) {
		const Image *image = &list->items[i];
		auto_free char *reference = short_reference(image->reference);

		table_add_text(&table, image->name);
		table_add_text(&table, reference);
		table_add_text(&table, image->arch);
		table_add_size(&table, image->size_bytes);
		figure_add(&table, referenced(usage, image));
		table_add_age(&table, image->created_at);
	}
	output_table(&app->out, &table, NULL);
}

int cmd_image_list(App *app, const Args *args UNUSED, Error **err)
{
	auto_image_list ImageList list = { 0 };
	auto_usage_report UsageReport usage = { 0 };

	if (ops_image_list(&app->ctx, &list, err) < 0)
		return -1;
	ops_usage_peek(&app->ctx, &usage);
	if (app->out.is_json) {
		json_t *images = json_array();

		for (size_t i = 0; i < list.count; i++)
			(void)json_array_append_new(images, document(&list.items[i], &usage));
		output_json_take(&app->out, json_pack("{s:o}", "images", images));
	} else if (list.count == 0) {
		output_message(&app->out,
			       "No images found. Make one with: ember image build debian");
	} else {
		list_as_table(app, &list, &usage);
	}
	return 0;
}

static char *words_text(const Strv *words)
{
	return words->count ? strv_join(words, " ") : NULL;
}

static void print_image(App *app, const Image *image, const UsageReport *usage)
{
	const ImageConfig *config = &image->config;
	Fact facts[] = {
		{ "Name", xstrdup(image->name) },
		{ "Id", xstrdup_null(image->id) },
		{ "Reference", xstrdup_null(image->reference) },
		{ "Digest", xstrdup_null(image->digest) },
		{ "Architecture", xstrdup_null(image->arch) },
		{ "Size", size_text(image->size_bytes) },
		{ "Referenced", figure_text(referenced(usage, image)) },
		{ "Disk", xstrdup_null(image->disk_path) },
		{ "Created", xstrdup_null(image->created_at) },
		{ "Own init", xstrdup(image->has_init ? "yes" : "no") },
		{ "Entrypoint", words_text(&config->entrypoint) },
		{ "Command", words_text(&config->cmd) },
		{ "Environment", words_text(&config->env) },
		{ "User", xstrdup_null(config->user) },
		{ "Directory", xstrdup_null(config->workdir) },
		{ "Ports", words_text(&config->exposed_ports) },
	};

	output_facts_take(&app->out, facts, ARRAY_SIZE(facts));
}

int cmd_image_inspect(App *app, const Args *args, Error **err)
{
	auto_image Image image = { 0 };
	auto_usage_report UsageReport usage = { 0 };

	if (ops_image_find(&app->ctx, args->words[0], &image, err) < 0)
		return -1;
	ops_usage_peek(&app->ctx, &usage);
	if (app->out.is_json)
		output_json_take(&app->out, document(&image, &usage));
	else
		print_image(app, &image, &usage);
	return 0;
}

static int delete_one(App *app, const char *name, const void *arg UNUSED, json_t **out_doc,
		      Error **err)
{
	if (ops_image_delete(&app->ctx, name, err) < 0)
		return -1;
	if (app->out.is_json)
		*out_doc = json_pack("{s:s, s:s}", "image", name, "status", "deleted");
	else
		output_message(&app->out, "Image '%s' deleted.", name);
	return 0;
}

int cmd_image_delete(App *app, const Args *args, Error **err)
{
	return each_name(app, args->words, args->count, false, delete_one, NULL, err);
}
