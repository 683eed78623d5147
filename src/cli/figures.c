#include "cli/figures.h"

#include "model/size.h"
#include "util/json.h"

void figure_add(Table *table, uint64_t bytes)
{
	if (bytes == STORAGE_UNKNOWN)
		table_add_none(table);
	else
		table_add_size(table, bytes);
}

json_t *figure_json(uint64_t bytes)
{
	return bytes == STORAGE_UNKNOWN ? json_null() : json_integer((json_int_t)bytes);
}

char *figure_text(uint64_t bytes)
{
	return bytes == STORAGE_UNKNOWN ? NULL : size_text(bytes);
}

json_t *figures_json(const UsageFigures *figures)
{
	json_t *doc = json_object();

	json_put_take(doc, "provisioned", figure_json(figures->provisioned));
	json_put_take(doc, "referenced", figure_json(figures->referenced));
	json_put_take(doc, "exclusive", figure_json(figures->exclusive));
	json_put_take(doc, "shared", figure_json(usage_shared(figures)));
	json_put_take(doc, "logical", figure_json(figures->logical));
	return doc;
}
