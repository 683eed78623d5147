/*
 * Commands about kernels.
 */
#include "cli/commands_kernel.h"
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
		output_text(&app->out, "No kernels found. The first VM that starts fetches one.");
	else
		output_table(&app->out, &table, "kernels");
	return 0;
}
