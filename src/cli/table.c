#include "cli/table.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "model/size.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

#define COLUMN_GAP 2

void table_init(Table *table, const Column *columns)
{
	*table = (Table){ .columns = columns };
	while (columns[table->column_count].title)
		table->column_count++;
}

void table_release(Table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	*table = (Table){ 0 };
}

static void add(Table *table, Cell cell)
{
	if (table->cell_count == table->cell_capacity) {
		table->cell_capacity = table->cell_capacity ? table->cell_capacity * 2 : 64;
		table->cells =
			xreallocarray(table->cells, table->cell_capacity, sizeof(*table->cells));
	}
	table->cells[table->cell_count++] = cell;
}

void table_add_none(Table *table)
{
	add(table, (Cell){ .kind = CELL_NONE });
}

void table_add_mood(Table *table, const char *text, CellMood mood)
{
	add(table, (Cell){ .kind = text ? CELL_TEXT : CELL_NONE,
			   .mood = mood,
			   .text = xstrdup_null(text) });
}

void table_add_text(Table *table, const char *text)
{
	table_add_mood(table, text, MOOD_PLAIN);
}

void table_add_count(Table *table, uint64_t count)
{
	add(table, (Cell){ .kind = CELL_COUNT, .value = count });
}

void table_add_size(Table *table, uint64_t bytes)
{
	add(table, (Cell){ .kind = CELL_SIZE, .value = bytes });
}

void table_add_age(Table *table, const char *time_text)
{
	add(table,
	    (Cell){ .kind = time_text ? CELL_AGE : CELL_NONE, .text = xstrdup_null(time_text) });
}

void table_add_bool(Table *table, bool is_set)
{
	add(table, (Cell){ .kind = CELL_BOOL, .value = is_set });
}

static char *age_text(const char *since_text, time_t now)
{
	time_t since;

	return time_parse(since_text, &since) < 0 ? xstrdup("-") : time_text_age(since, now);
}

static char *cell_text(const Cell *cell, time_t now)
{
	switch (cell->kind) {
	case CELL_TEXT:
		return str_make_printable(xstrdup(cell->text[0] ? cell->text : "-"));
	case CELL_COUNT:
		return xasprintf("%llu", (unsigned long long)cell->value);
	case CELL_SIZE:
		return size_text(cell->value);
	case CELL_AGE:
		return age_text(cell->text, now);
	case CELL_BOOL:
		return xstrdup(cell->value ? "yes" : "-");
	case CELL_NONE:
		break;
	}
	return xstrdup("-");
}

/* Columns on the screen: one a character, whatever its length in UTF-8. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static bool is_right_aligned(const Table *table, size_t column)
{
	for (size_t i = column; i < table->cell_count; i += table->column_count)
		if (table->cells[i].kind != CELL_NONE)
			return table->cells[i].kind == CELL_COUNT ||
			       table->cells[i].kind == CELL_SIZE;
	return false;
}

static void print_spaces(FILE *stream, size_t count)
{
	while (count--)
		(void)fputc(' ', stream);
}

static const char *mood_color(CellMood mood)
{
	static const char *const colors[] = { "", "\033[32m", "\033[33m", "\033[31m" };

	return colors[mood];
}

/* The last column is not padded: no line ends with blanks. */
static void print_cell(FILE *stream, const char *text, size_t width, bool is_right, bool is_last,
		       const char *color)
{
	size_t padding = width - width_of(text);

	if (is_right)
		print_spaces(stream, padding);
	(void)fprintf(stream, "%s%s%s", color, text, *color ? "\033[0m" : "");
	if (!is_last)
		print_spaces(stream, COLUMN_GAP + (is_right ? 0 : padding));
}

void table_print(const Table *table, FILE *stream, bool is_colored)
{
	auto_free size_t *widths = xcalloc(table->column_count, sizeof(*widths));
	auto_strv Strv texts = { 0 };
	time_t now = time(NULL);

	assert(table->cell_count % table->column_count == 0);
	for (size_t c = 0; c < table->column_count; c++)
		widths[c] = width_of(table->columns[c].title);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t *width = &widths[i % table->column_count], own;

		strv_push_take(&texts, cell_text(&table->cells[i], now));
		own = width_of(texts.items[i]);
		*width = own > *width ? own : *width;
	}
	for (size_t c = 0; c < table->column_count; c++)
		print_cell(stream, table->columns[c].title, widths[c], is_right_aligned(table, c),
			   c + 1 == table->column_count, "");
	(void)fputc('\n', stream);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t c = i % table->column_count;
		bool is_last = c + 1 == table->column_count;

		print_cell(stream, texts.items[i], widths[c], is_right_aligned(table, c), is_last,
			   is_colored ? mood_color(table->cells[i].mood) : "");
		if (is_last)
			(void)fputc('\n', stream);
	}
}

static json_t *cell_json(const Cell *cell)
{
	switch (cell->kind) {
	case CELL_TEXT:
	case CELL_AGE:
		return json_string(cell->text);
	case CELL_COUNT:
	case CELL_SIZE:
		return json_integer((json_int_t)cell->value);
	case CELL_BOOL:
		return json_boolean(cell->value);
	case CELL_NONE:
		break;
	}
	return json_null();
}

json_t *table_to_json(const Table *table)
{
	json_t *list = json_array();
	json_t *row = NULL;

	for (size_t i = 0; i < table->cell_count; i++) {
		size_t c = i % table->column_count;

		if (c == 0) {
			row = json_object();
			(void)json_array_append_new(list, row);
		}
		json_put_take(row, table->columns[c].key, cell_json(&table->cells[i]));
	}
	return list;
}
