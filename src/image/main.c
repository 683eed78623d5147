/*
 * ember-image: OCI images and tars to ext4 root disks, and back. The only program of ember that reads what strangers
 * made; see worker.h for how it keeps its distance.
 */
#include <string.h>

#include "image/commands.h"
#include "util/mem.h"

static const struct {
	const char *word;
	int (*run)(int argc, char *argv[]);
} commands[] = {
	{ "confined", command_confined },
	{ "export", command_export },
	{ "probe", command_probe },
	{ "verify", command_verify },
};

int main(int argc, char *argv[])
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].word))
			return commands[i].run(argc - 1, argv + 1);
	return command_import(argc, argv);
}
