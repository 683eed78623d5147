#include "keeper/driver.h"

#include <string.h>

#include "util/compiler.h"

static const Driver *const drivers[] = { &qemu_driver };

const Driver *driver_find(const char *name, Error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (!strcmp(drivers[i]->name, name))
			return drivers[i];
	error_set(err, ERR_UNSUPPORTED, "this ember-keeper cannot drive the hypervisor '%s'", name);
	return NULL;
}
