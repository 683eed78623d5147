#include "model/image.h"

#include "util/mem.h"

void image_release(Image *image)
{
	free(image->name);
	free(image->former_name);
	free(image->id);
	free(image->reference);
	free(image->digest);
	free(image->arch);
	free(image->disk_path);
	free(image->created_at);
	image_config_release(&image->config);
	*image = (Image){ 0 };
}

void image_list_push_take(ImageList *list, Image *image)
{
	list->items = xreallocarray(list->items, list->count + 1, sizeof(*image));
	list->items[list->count++] = *image;
	*image = (Image){ 0 };
}

void image_list_release(ImageList *list)
{
	for (size_t i = 0; i < list->count; i++)
		image_release(&list->items[i]);
	free(list->items);
	*list = (ImageList){ 0 };
}
