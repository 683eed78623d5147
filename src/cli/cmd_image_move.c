/*
 * Commands that bring images in and out.
 */
#include <string.h>

#include "cli/commands_image.h"
#include "model/size.h"
#include "ops/image_move.h"
#include "state/records.h"
#include "util/json.h"
#include "util/mem.h"

static void answer_image(App *app, const Image *image, const char *success)
{
	if (app->out.is_json)
		output_json_take(&app->out, image_to_json(image));
	else
		output_message(&app->out, "Image '%s' %s.", image->name, success);
}

/* `what` is "image" or "vm". With "-" stdout is the file. */
static void answer_export(App *app, const char *what, const char *name, const char *file,
			  const Exported *exported)
{
	auto_free char *size = size_text(exported->size_bytes);
	json_t *doc;

	if (!strcmp(file, "-"))
		return;
	if (!app->out.is_json) {
		output_message(&app->out, "%s '%s' exported to '%s' (%s, %s).",
			       !strcmp(what, "vm") ? "VM" : "Image", name, file, exported->format,
			       size);
		return;
	}
	doc = json_object();
	json_put_string(doc, what, name);
	json_put_string(doc, "status", "exported");
	json_put_take(doc, "file", output_json_string(file));
	json_put_string(doc, "format", exported->format);
	json_put_u64(doc, "size_bytes", exported->size_bytes);
	json_put_string(doc, "digest", exported->digest);
	output_json_take(&app->out, doc);
}

static ExportOptions export_options_of(const Args *args)
{
	const ExportArgs *opt = args->options;

	return (ExportOptions){ .format = opt->format,
				.replace = opt->force,
				.compress = opt->compress };
}

int cmd_image_export(App *app, const Args *args, Error **err)
{
	ExportOptions options = export_options_of(args);
	auto_exported Exported exported = { 0 };

	if (ops_image_export(&app->ctx, args->words[0], args->words[1], &options, &exported, err) <
	    0)
		return -1;
	answer_export(app, "image", args->words[0], args->words[1], &exported);
	return 0;
}

int cmd_vm_export(App *app, const Args *args, Error **err)
{
	ExportOptions options = export_options_of(args);
	auto_exported Exported exported = { 0 };

	if (ops_vm_export(&app->ctx, args->words[0], args->words[1], &options, &exported, err) < 0)
		return -1;
	answer_export(app, "vm", args->words[0], args->words[1], &exported);
	return 0;
}

int cmd_vm_commit(App *app, const Args *args, Error **err)
{
	const CommitArgs *opt = args->options;
	auto_free char *success = xasprintf("made of the disk of vm '%s'", args->words[0]);
	auto_image Image image = { 0 };

	if (ops_vm_commit(&app->ctx, args->words[0], args->words[1], opt->replace, &image, err) < 0)
		return -1;
	answer_image(app, &image, success);
	return 0;
}

int cmd_image_push(App *app, const Args *args, Error **err)
{
	const PushArgs *opt = args->options;
	PushOptions options = { .creds = image_login(opt->creds),
				.timeout_s = (uint64_t)opt->timeout_s,
				.plain_http = opt->tls_verify &&
					      !strcmp(opt->tls_verify, "false") };
	auto_free char *reference = NULL;
	auto_free char *digest = NULL;
	json_t *doc;

	if (ops_image_push(&app->ctx, args->words[0], args->words[1], &options, &reference, &digest,
			   err) < 0)
		return -1;
	if (!app->out.is_json) {
		output_message(&app->out, "Image '%s' pushed to %s (%s).", args->words[0],
			       reference, digest);
		return 0;
	}
	doc = json_object();
	json_put_string(doc, "image", args->words[0]);
	json_put_string(doc, "status", "pushed");
	json_put_string(doc, "reference", reference);
	json_put_string(doc, "digest", digest);
	output_json_take(&app->out, doc);
	return 0;
}

int cmd_image_import(App *app, const Args *args, Error **err)
{
	const ImportArgs *opt = args->options;
	ImportOptions options = { .tag = opt->tag,
				  .platform = opt->platform,
				  .config = opt->config,
				  .replace = opt->replace };
	auto_image Image image = { 0 };

	if (ops_image_import(&app->ctx, args->words[0], args->words[1], &options, &image, err) < 0)
		return -1;
	answer_image(app, &image, "imported");
	return 0;
}
