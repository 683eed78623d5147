#include "kernel/build.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/identify.h"
#include "kernel/kbuild.h"
#include "model/size.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* Measured with Linux 6.1: package and its tarball, the unpacked source, objects. */
#define PACKAGE_BYTES (280 * MIB)
#define SOURCE_BYTES  (1400 * MIB)
#define OBJECT_BYTES  (400 * MIB)

#define RECIPE_SOURCE "source "

char *kernel_recipe(const KernelSource *source, const Fragment *fragment, const char *toolchain,
		    const char *arch)
{
	auto_free char *options = fragment_text(fragment);

	if (!source->identity)
		return NULL;
	return xasprintf(RECIPE_SOURCE "%s\n%smachine %s\n%s", source->identity, toolchain, arch,
			 options);
}

char *kernel_recipe_source(const char *recipe)
{
	size_t skip = strlen(RECIPE_SOURCE);

	if (!recipe || !str_starts_with(recipe, RECIPE_SOURCE))
		return NULL;
	return xstrndup(recipe + skip, strcspn(recipe + skip, "\n"));
}

int kernel_build_check_tools(const KernelSource *source, Error **err)
{
	static const char *const none[] = { NULL };
	static const char *const unpack[] = { "tar", "xz", NULL };
	static const char *const fetch[] = { "tar", "xz", "apt-get", "dpkg-deb", NULL };

	return kbuild_check_tools(source->directory ? none : source->tarball ? unpack : fetch, err);
}

static int check_path(const char *path, const char *hint, Error **err)
{
	if (!path || !strpbrk(path, " \t\n:"))
		return 0;
	error_set(
		err, ERR_UNSUPPORTED,
		"'%s' has a space or a colon in it, which the kernel's build system does not take",
		path);
	return error_hint(err, "%s", hint);
}

int kernel_build_check_paths(const KernelSource *source, const char *work_dir, Error **err)
{
	if (check_path(source->directory, "move the source, or name a tarball of it", err) < 0)
		return -1;
	return check_path(work_dir,
			  "add a kernel that is made elsewhere: ember kernel add NAME PATH", err);
}

int kernel_build_check_space(const KernelSource *source, const char *dir, Error **err)
{
	uint64_t needed = OBJECT_BYTES + (source->directory ? 0 : SOURCE_BYTES) +
			  (source->package ? PACKAGE_BYTES : 0);
	auto_free char *needed_text = size_text(needed);
	auto_free char *free_text = NULL;
	uint64_t available;

	if (fs_free_bytes(dir, &available, err) < 0)
		return -1;
	if (available >= needed)
		return 0;
	free_text = size_text(available);
	error_set(err, ERR_FAILED, "compiling a kernel takes %s in '%s' for a while, there are %s",
		  needed_text, dir, free_text);
	return error_hint(err, "make room there, or add a kernel that is made elsewhere: "
			       "ember kernel add NAME PATH");
}

static void step(const KernelBuildRequest *request, const char *text)
{
	if (request->step)
		request->step(request->arg, text);
}

/* The directory of the source, ready to be compiled; owned. */
static int prepare_source(const KernelBuildRequest *request, char **out_dir, Error **err)
{
	const KernelSource *source = request->source;
	auto_free char *dir = path_join(request->work_dir, "source");

	if (source->directory) {
		*out_dir = xstrdup(source->directory);
		return 0;
	}
	step(request, "unpack the kernel's source");
	if (failpoint("kernel.build.unpack", err) < 0 || fs_mkdir(dir, 0700, err) < 0 ||
	    kernel_source_unpack(source, request->arch, dir, err) < 0)
		return -1;
	*out_dir = steal(&dir);
	return 0;
}

static int make_image(const KernelBuildRequest *request, const char *image, uint64_t *out_files,
		      Error **err)
{
	auto_free char *source = NULL;
	auto_free char *objects = path_join(request->work_dir, "objects");
	auto_free char *temp = path_join(request->work_dir, "temp");
	auto_free char *made = path_join(objects, ".config");
	auto_free char *config = path_join(request->target_dir, "config");
	Kbuild kbuild = { .object_dir = objects,
			  .temp_dir = temp,
			  .arch = request->arch,
			  .log = request->log,
			  .jobs = request->jobs,
			  .progress = request->files,
			  .arg = request->arg };

	if (prepare_source(request, &source, err) < 0 || fs_mkdir(objects, 0700, err) < 0 ||
	    fs_mkdir(temp, 0700, err) < 0)
		return -1;
	kbuild.source_dir = source;
	step(request, "configure the kernel");
	if (failpoint("kernel.build.configure", err) < 0 ||
	    kbuild_configure(&kbuild, request->fragment, err) < 0)
		return -1;
	step(request, "compile the kernel");
	if (failpoint("kernel.build.compile", err) < 0 ||
	    kbuild_compile(&kbuild, image, out_files, err) < 0)
		return -1;
	return fs_rename(made, config, err);
}

/* What came out is a kernel that our hypervisor starts. */
static int examine(Kernel *kernel, Error **err)
{
	CLEANUP(kernel_facts_release) KernelFacts facts = { 0 };
	KernelFormat format;
	struct stat st;

	if (kernel_identify_file(kernel->path, &facts, &format, err) < 0)
		return -1;
	if (kernel_check_bootable(&facts, format, kernel->arch, "what was compiled", err) < 0)
		return -1;
	if (stat(kernel->path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", kernel->path);
	kernel->size_bytes = (unsigned long long)st.st_size;
	kernel->version = steal(&facts.version);
	return fs_sync_path(kernel->path, err);
}

int kernel_build(const KernelBuildRequest *request, Kernel *out_kernel, Error **err)
{
	auto_free char *recipe_path = path_join(request->target_dir, "recipe");
	auto_free char *recipe = NULL;
	auto_kernel Kernel kernel = { .arch = xstrdup(request->arch) };
	uint64_t files = 0;

	kernel.path = path_join(request->target_dir, "vmlinux");
	if (make_image(request, kernel.path, &files, err) < 0 || examine(&kernel, err) < 0)
		return -1;
	kernel.build_files = files;
	recipe = kernel_recipe(request->source, request->fragment, request->toolchain,
			       request->arch);
	if (fs_write_new(recipe_path, recipe, strlen(recipe), 0600, err) < 0)
		return -1;
	*out_kernel = kernel;
	kernel = (Kernel){ 0 };
	return 0;
}
