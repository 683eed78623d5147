/*
 * The main program of a fuzz target where libFuzzer is not: runs it over every file of a corpus, as
 * a test that prints TAP. Names beginning with "crash-" are inputs that once broke it.
 */
#include "fuzz.h"

#include <dirent.h>

enum { INPUT_MAX = 1 << 20 };

static size_t read_input(const char *dir, const char *name, uint8_t *bytes)
{
	char path[4096];
	FILE *file;
	size_t size;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "re");
	if (!file) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	size = fread(bytes, 1, INPUT_MAX, file);
	(void)fclose(file);
	return size;
}

int main(int argc, char **argv)
{
	/* Exactly as long as the input, so that the sanitizers see a read past its end. */
	static uint8_t bytes[INPUT_MAX];
	struct dirent **entries;
	int count = argc == 2 ? scandir(argv[1], &entries, NULL, alphasort) : -1;
	int done = 0;

	if (count < 0) {
		(void)fprintf(stderr, "usage: replay CORPUS\n");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			size_t size = read_input(argv[1], entries[i]->d_name, bytes);
			uint8_t *exact = malloc(size ? size : 1);

			if (!exact)
				return EXIT_FAILURE;
			memcpy(exact, bytes, size);
			(void)LLVMFuzzerTestOneInput(exact, size);
			free(exact);
			printf("ok %d - %s\n", ++done, entries[i]->d_name);
		}
		free(entries[i]);
	}
	free(entries);
	printf("1..%d\n", done);
	return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
