#include "model/kernel.h"

#include "util/mem.h"

void kernel_release(Kernel *kernel)
{
	free(kernel->name);
	free(kernel->path);
	free(kernel->initrd);
	free(kernel->version);
	free(kernel->arch);
	*kernel = (Kernel){ 0 };
}

void kernel_list_push_take(KernelList *list, Kernel *kernel)
{
	list->items = xreallocarray(list->items, list->count + 1, sizeof(*kernel));
	list->items[list->count++] = *kernel;
	*kernel = (Kernel){ 0 };
}

void kernel_list_release(KernelList *list)
{
	for (size_t i = 0; i < list->count; i++)
		kernel_release(&list->items[i]);
	free(list->items);
	*list = (KernelList){ 0 };
}
