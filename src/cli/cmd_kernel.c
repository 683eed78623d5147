/*
 * Commands about kernels.
 */
#include "cli/commands_kernel.h"
#include "cli/each.h"
#include "ops/kernel.h"

int cmd_kernel_list(App *app, const Args *args UNUSED, Error **err)
{
	static const Column columns[] = { { "NAME", "name" },
					  { "VERSION", "version" },
					  { "ARCH", "arch" },
					  { "SIZE", "size" },
					  { "DEFAULT", "default" },
					  { "PATH", "path" },
					  { 0 } };
	auto_kernel_list KernelList list = { 0 };
	auto_table Table table = { 0 };

	if (ops_kernel_list(&app->ctx, &list, err) < 0)
		return -1;
	table_init(&table, columns);
	for (size_t i = 0; i < list.count; i++) {
		const Kernel *kernel = &list.items[i];

		table_add_text(&table, kernel->name);
		table_add_text(&table, kernel->version);
		table_add_text(&table, kernel->arch);
		table_add_size(&table, kernel->size_bytes);
		table_add_bool(&table, kernel->is_default);
		table_add_text(&table, kernel->path);
	}
	if (list.count == 0 && !app->out.is_json)
		output_message(&app->out,
			       "No kernels found. The first VM that starts fetches one.");
	else
		output_table(&app->out, &table, "kernels");
	return 0;
}

/* With the fields of the list. */
static void answer_json(App *app, const Kernel *kernel)
{
	output_json_take(&app->out,
			 json_pack("{s:s, s:s, s:s?, s:s?, s:I, s:b}", "name", kernel->name, "path",
				   kernel->path, "version", kernel->version, "arch", kernel->arch,
				   "size", (json_int_t)kernel->size_bytes, "default",
				   kernel->is_default));
}

int cmd_kernel_build(App *app, const Args *args, Error **err)
{
	const KernelBuildArgs *opt = args->options;
	KernelBuildOptions options = { .jobs = (unsigned)opt->jobs,
				       .config = opt->config,
				       .source = opt->source,
				       .refresh = opt->refresh,
				       .make_default = opt->make_default };
	auto_kernel Kernel kernel = { 0 };
	bool existed = false;

	if (ops_kernel_build(&app->ctx, args->count ? args->words[0] : NULL, &options, &kernel,
			     &existed, err) < 0)
		return -1;
	if (app->out.is_json)
		answer_json(app, &kernel);
	else if (existed)
		output_message(&app->out, "Kernel '%s' (%s) is already built.", kernel.name,
			       kernel.version);
	else
		output_message(&app->out, "Kernel '%s' (%s) built successfully.", kernel.name,
			       kernel.version);
	return 0;
}

int cmd_kernel_add(App *app, const Args *args, Error **err)
{
	const KernelAddArgs *opt = args->options;
	KernelAddOptions options = { .path = args->words[1],
				     .initrd = opt->initrd,
				     .make_default = opt->make_default };
	auto_kernel Kernel kernel = { 0 };

	if (ops_kernel_add(&app->ctx, args->words[0], &options, &kernel, err) < 0)
		return -1;
	if (app->out.is_json)
		answer_json(app, &kernel);
	else
		output_message(&app->out, "Kernel '%s' added.", kernel.name);
	return 0;
}

static int delete_one(App *app, const char *name, const void *arg UNUSED, json_t **out_doc,
		      Error **err)
{
	if (ops_kernel_delete(&app->ctx, name, err) < 0)
		return -1;
	if (app->out.is_json)
		*out_doc = json_pack("{s:s, s:s}", "kernel", name, "status", "deleted");
	else
		output_message(&app->out, "Kernel '%s' deleted.", name);
	return 0;
}

int cmd_kernel_delete(App *app, const Args *args, Error **err)
{
	return each_name(app, args->words, args->count, false, delete_one, NULL, err);
}

int cmd_kernel_default(App *app, const Args *args, Error **err)
{
	if (ops_kernel_set_default(&app->ctx, args->words[0], err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, json_pack("{s:o, s:s}", "kernel",
						      output_json_string(args->words[0]), "status",
						      "default"));
	else
		output_message(&app->out, "'%s' is the default kernel.", args->words[0]);
	return 0;
}
