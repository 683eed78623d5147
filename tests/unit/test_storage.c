/*
 * Every storage back end against one table of cases, in every place that this host can have
 * (storage_hosts.c):
 *
 *	test_storage [--case WORDS] [--host NAME | --try NAME]...
 *
 * A place that is named by --host must be there: it is not skipped. --case takes those with the words in their name.
 */
#include "storage_test.h"

#include "util/mem.h"

typedef struct Cell {
	const Host *place;
	const Case *row;
} Cell;

static Test *matrix;
static Cell *cells; /* of each line of the matrix */
static size_t count;
static bool any_named;
static bool must_be_there;
static const char *wanted;

static void run_next(void);

static void add_cases(const Host *place, const Case *table, size_t rows)
{
	for (size_t i = 0; i < rows; i++) {
		if (wanted && !strstr(table[i].name, wanted))
			continue;
		matrix = xreallocarray(matrix, count + 1, sizeof(*matrix));
		cells = xreallocarray(cells, count + 1, sizeof(*cells));
		matrix[count] =
			(Test){ xasprintf("%s: %s", place->title, table[i].name), run_next };
		cells[count++] = (Cell){ place, &table[i] };
	}
}

static void free_matrix(void)
{
	leave_host();
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)matrix[i].name);
	free(matrix);
	free(cells);
}

/* Runs the next cell of the matrix: test_main goes through it in order. */
static void run_next(void)
{
	static size_t next;
	static const char *obstacle = "its set-up failed";
	const Cell *cell = &cells[next++];

	(void)unsetenv("EMBER_FAIL_AT");
	if (host != cell->place) {
		obstacle = "its set-up failed";
		obstacle = enter_host(cell->place);
	}
	if (obstacle && must_be_there) {
		printf("# %s: %s\n", host->name, obstacle);
		test_fail();
	}
	if (obstacle)
		test_skip(obstacle);
	cell->row->run();
}

static int usage(void)
{
	fprintf(stderr,
		"usage: test_storage [--case WORDS] [--host NAME | --try NAME]...; there are:");
	for (size_t i = 0; i < host_count; i++)
		fprintf(stderr, " %s", hosts[i].name);
	fprintf(stderr, "\n");
	return 2;
}

static const Host *find_host(const char *name)
{
	for (size_t i = 0; i < host_count; i++)
		if (!strcmp(hosts[i].name, name))
			return &hosts[i];
	return NULL;
}

static void add_host(const Host *place)
{
	add_cases(place, contract_cases, contract_count);
	add_cases(place, live_cases, live_count);
	add_cases(place, fault_cases, fault_count);
	if (!place->is_mounted)
		return;
	add_cases(place, space_cases, space_count);
	add_cases(place, managed_cases, managed_count);
}

int main(int argc, char **argv)
{
	(void)atexit(free_matrix);
	for (int i = 1; i < argc; i += 2) {
		const Host *named = i + 1 < argc ? find_host(argv[i + 1]) : NULL;

		if (!strcmp(argv[i], "--case") && i + 1 < argc) {
			wanted = argv[i + 1];
			continue;
		}
		if (!named || (strcmp(argv[i], "--host") != 0 && strcmp(argv[i], "--try") != 0))
			return usage();
		if (!strcmp(argv[i], "--host"))
			must_be_there = true;
		any_named = true;
		add_host(named);
	}
	for (size_t i = 0; i < host_count && !any_named; i++)
		add_host(&hosts[i]);
	return test_main(matrix, count);
}
