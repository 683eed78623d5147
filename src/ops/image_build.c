#include "ops/image_build.h"

#include "model/size.h"
#include "model/uuid.h"
#include "ops/image_make.h"
#include "ops/image_source.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/mem.h"

void build_plan_release(BuildPlan *plan)
{
	free(plan->reference);
	free(plan->file);
	free(plan->context);
	*plan = (BuildPlan){ 0 };
}

static bool is_given(const Strv *list)
{
	return list && list->count > 0;
}

/* The first of the options that belong to the other way, or NULL. */
static const char *misplaced_option(const BuildOptions *options, bool is_file)
{
	const struct {
		const char *name;
		bool is_given;
		bool is_for_file;
	} all[] = {
		{ "--variant", options->variant != NULL, false },
		{ "--suite", options->suite != NULL, false },
		{ "--mirror", options->mirror != NULL, false },
		{ "--package", is_given(options->packages), false },
		{ "--build-arg", is_given(options->build_args), true },
		{ "--target", options->target != NULL, true },
		{ "--platform", options->platform != NULL, true },
		{ "--engine", options->engine != NULL, true },
		{ "--no-cache", options->no_cache, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].is_given && all[i].is_for_file != is_file)
			return all[i].name;
	return NULL;
}

static int make_plan(const char *name, const BuildOptions *options, BuildPlan *plan, Error **err)
{
	bool is_file = options->file || options->context;
	const char *misplaced = misplaced_option(options, is_file);

	if (name_check("image", name, err) < 0)
		return -1;
	plan->options = options;
	if (misplaced && is_file) {
		error_set(err, ERR_USAGE, "%s is for the built-in image, not for a Containerfile",
			  misplaced);
		return error_hint(err, "leave out %s, or -f and CONTEXT", misplaced);
	}
	if (misplaced) {
		error_set(err, ERR_USAGE, "%s needs a Containerfile", misplaced);
		return error_hint(err, "name it, or its directory: ember image build %s %s", name,
				  "-f FILE CONTEXT");
	}
	return is_file ? image_containerfile_plan(options, plan, err)
		       : image_debian_plan(options, plan, err);
}

/* Was the image that is here made as it is wanted now? Of a Containerfile nobody can tell without building it. */
static bool is_wanted(const BuildPlan *plan, const Image *there)
{
	const BuildOptions *options = plan->options;

	if (plan->engine)
		return false;
	return str_equal(there->reference, plan->reference) ||
	       (!options->variant && !options->suite && !is_given(options->packages));
}

/* 1: an image of that name is here and stays, 0: go on. */
static int settle_former(Context *ctx, const char *name, const BuildPlan *plan, Image *out_image,
			 Error **err)
{
	auto_free char *dir = store_image_dir(&ctx->store, name);
	auto_image Image there = { 0 };

	if (!fs_exists(dir) || plan->options->replace)
		return 0;
	if (records_read_image(&ctx->store, name, &there, err) < 0)
		return -1;
	if (!is_wanted(plan, &there)) {
		error_set(err, ERR_EXISTS, "image '%s' exists already, made from '%s'", name,
			  there.reference);
		return error_hint(err, "build it under another name, or add --replace");
	}
	*out_image = there;
	there = (Image){ 0 };
	return 1;
}

static int make(Context *ctx, const BuildPlan *plan, Image *image, Error **err)
{
	auto_free char *dir = NULL;

	if (image_begin(ctx, image, &dir, err) < 0)
		return -1;
	if (plan->engine ? image_containerfile_make(ctx, plan, image, dir, err) < 0
			 : image_debian_make(ctx, plan, image, dir, err) < 0)
		return -1;
	return image_commit(ctx, image, dir, plan->options->replace, err);
}

int ops_image_build(Context *ctx, const char *name, const BuildOptions *options, Image *out_image,
		    bool *out_existed, Error **err)
{
	CLEANUP(build_plan_release) BuildPlan plan = { 0 };
	auto_image Image image = { 0 };
	auto_fd lock = -1;
	int stays;

	if (make_plan(name, options, &plan, err) < 0 || context_load_or_init(ctx, err) < 0 ||
	    change_begin(ctx, err) < 0 || store_lock_op(&ctx->store, "image", name, &lock, err) < 0)
		return -1;
	stays = settle_former(ctx, name, &plan, out_image, err);
	if (stays < 0)
		return -1;
	*out_existed = stays > 0;
	if (stays)
		return 0;
	image.name = xstrdup(name);
	image.id = uuid_new();
	image.reference = xstrdup(plan.reference);
	image.arch = source_machine(options->platform);
	image.created_at = time_text_now();
	if (make(ctx, &plan, &image, err) < 0) {
		image_undo(ctx, name);
		return error_wrap(err, "build image '%s'", name);
	}
	report_done(ctx);
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}
