#include "state/kernels.h"

#include "model/vm.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

#define RECIPE_MAX (4U << 20)

char *store_kernel_dir(const Store *store, const char *name)
{
	return xasprintf("%s/kernels/%s", store->dir, name);
}

static int from_json(const char *dir, const json_t *doc, Kernel *out_kernel, Error **err)
{
	auto_kernel Kernel kernel = { 0 };
	auto_free char *image = NULL;
	auto_free char *initrd = NULL;
	uint64_t schema, size, build_files = 0;

	if (json_get_u64(doc, "schema", RECORD_SCHEMA, &schema, err) < 0 ||
	    json_get_string(doc, "name", &kernel.name, err) < 0 ||
	    json_get_string(doc, "image", &image, err) < 0 ||
	    json_get_string_opt(doc, "initrd", &initrd, err) < 0 ||
	    json_get_string_opt(doc, "version", &kernel.version, err) < 0 ||
	    json_get_string_opt(doc, "arch", &kernel.arch, err) < 0 ||
	    json_get_u64(doc, "size_bytes", INT64_MAX, &size, err) < 0 ||
	    json_get_u64_opt(doc, "build_files", INT64_MAX, &build_files, err) < 0)
		return -1;
	kernel.size_bytes = size;
	kernel.build_files = build_files;
	kernel.path = path_join(dir, path_basename(image));
	kernel.initrd = initrd ? path_join(dir, path_basename(initrd)) : NULL;
	*out_kernel = kernel;
	kernel = (Kernel){ 0 };
	return 0;
}

int kernels_read(const Store *store, const char *name, Kernel *out_kernel, Error **err)
{
	auto_free char *dir = store_kernel_dir(store, name);
	auto_free char *path = path_join(dir, "kernel.json");
	json_auto_t *doc = NULL;

	if (json_read_file(path, &doc, err) < 0 || from_json(dir, doc, out_kernel, err) < 0)
		return error_wrap(err, "read kernel '%s'", name);
	return 0;
}

int kernels_write_at(const char *dir, const Kernel *kernel, Error **err)
{
	auto_free char *path = path_join(dir, "kernel.json");
	json_auto_t *doc = json_object();

	json_put_u64(doc, "schema", RECORD_SCHEMA);
	json_put_string(doc, "name", kernel->name);
	json_put_string(doc, "image", path_basename(kernel->path));
	json_put_string(doc, "initrd", kernel->initrd ? path_basename(kernel->initrd) : NULL);
	json_put_string(doc, "version", kernel->version);
	json_put_string(doc, "arch", kernel->arch);
	json_put_u64(doc, "size_bytes", kernel->size_bytes);
	if (kernel->build_files)
		json_put_u64(doc, "build_files", kernel->build_files);
	return json_write_file(path, doc, true, err);
}

char *kernels_read_recipe(const Store *store, const char *name)
{
	auto_free char *dir = store_kernel_dir(store, name);
	auto_free char *path = path_join(dir, "recipe");
	char *text = NULL;
	size_t len;

	return fs_read(path, RECIPE_MAX, &text, &len, NULL) == 0 ? text : NULL;
}

char *kernels_log_path(const Store *store, const char *name)
{
	return xasprintf("%s/kernels/.%s.build.log", store->dir, name);
}

char *kernels_work_dir(const Store *store, const char *name)
{
	return xasprintf("%s/kernels/.%s.work", store->dir, name);
}

int kernels_list(const Store *store, KernelList *out_list, Error **err)
{
	auto_free char *dir = store_path(store, "kernels");
	auto_strv Strv names = { 0 };

	if (fs_list(dir, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		auto_kernel Kernel kernel = { 0 };

		if (name_check("kernel", names.items[i], NULL) == 0 &&
		    kernels_read(store, names.items[i], &kernel, NULL) == 0)
			kernel_list_push_take(out_list, &kernel);
	}
	return 0;
}
