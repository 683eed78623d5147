/*
 * Tables of typed cells: the rows are added once, then printed for people or made into JSON.
 *
 * Cells are added in order and fill the rows from left to right. Text may come from anywhere:
 * control bytes are made harmless when it is printed.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "util/compiler.h"

typedef enum CellKind { CELL_NONE, CELL_TEXT, CELL_COUNT, CELL_SIZE, CELL_AGE, CELL_BOOL } CellKind;
typedef enum CellMood { MOOD_PLAIN, MOOD_GOOD, MOOD_WARN, MOOD_BAD } CellMood;

typedef struct Column {
	const char *title; /* "NAME" */
	const char *key;   /* in JSON: "name" */
} Column;

typedef struct Cell {
	CellKind kind;
	CellMood mood;
	char *text;	/* TEXT; the RFC 3339 time of an AGE */
	uint64_t value; /* COUNT, bytes of SIZE, BOOL */
} Cell;

typedef struct Table {
	const Column *columns; /* borrowed, ends with an empty one */
	size_t column_count;
	Cell *cells;
	size_t cell_count;
	size_t cell_capacity;
} Table;

void table_init(Table *table, const Column *columns);
void table_release(Table *table);
#define auto_table CLEANUP(table_release)

void table_add_none(Table *table);		     /* "-", null in JSON */
void table_add_text(Table *table, const char *text); /* NULL: none */
void table_add_mood(Table *table, const char *text, CellMood mood);
void table_add_count(Table *table, uint64_t count);
void table_add_size(Table *table, uint64_t bytes);	 /* "1.5 GiB", bytes in JSON */
void table_add_age(Table *table, const char *time_text); /* how long ago; the time itself in JSON */
void table_add_bool(Table *table, bool is_set);		 /* "yes" or "-" */

/* With a line of titles; numbers stand on the right. `is_colored`: the moods are shown as colours. */
void table_print(const Table *table, FILE *stream, bool is_colored);
/* A list of objects; a new reference. */
json_t *table_to_json(const Table *table);
