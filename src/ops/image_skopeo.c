#include "ops/image_skopeo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "ops/image_auth.h"
#include "ops/image_make.h"
#include "ops/spool.h"
#include "util/mem.h"
#include "util/os.h"

/* Less than this is no life: Go's runtime writes a byte to itself now and then. */
#define MOVED_BYTES 1024

/* What skopeo, its Go library and registries say, and what it means. The first that is found counts. */
typedef struct Meaning {
	const char *said;
	ErrorCode code;
	const char *sentence; /* with the registry's name in it */
	const char *hint;     /* likewise, or with the repository's */
	bool is_about_repository;
} Meaning;

#define HINT_LOGIN "log in: skopeo login %s, or give --creds USER:PASSWORD"
#define HINT_REACH "see whether it answers: curl -I https://%s/v2/"
#define HINT_CERTIFICATE \
	"if you trust it, put its CA into /etc/containers/certs.d/%s/ca.crt, or add --tls-verify=false"
#define DENIED_SENTENCE	 "registry '%s' does not allow it"
#define UNKNOWN_SENTENCE "registry '%s' has no such image"
#define HINT_TAGS	 "check the name and the tag: skopeo list-tags docker://%s"

static const Meaning meanings[] = {
	{ "manifest unknown", ERR_NOT_FOUND, UNKNOWN_SENTENCE, HINT_TAGS, true },
	{ "name unknown", ERR_NOT_FOUND, UNKNOWN_SENTENCE, HINT_TAGS, true },
	{ "no image found in", ERR_NOT_FOUND,
	  "registry '%s' does not have the image for this platform",
	  "see which there are: skopeo inspect --raw docker://%s", true },
	{ "toomanyrequests", ERR_FAILED, "registry '%s' wants fewer requests", HINT_LOGIN, false },
	{ "unauthorized", ERR_DENIED, "registry '%s' does not accept the login", HINT_LOGIN,
	  false },
	{ "authentication required", ERR_DENIED, "registry '%s' wants a login", HINT_LOGIN, false },
	{ "invalid username/password", ERR_DENIED, "registry '%s' does not accept the login",
	  HINT_LOGIN, false },
	{ "denied", ERR_DENIED, DENIED_SENTENCE, HINT_LOGIN, false },
	{ "403 (Forbidden)", ERR_DENIED, DENIED_SENTENCE, HINT_LOGIN, false },
	{ "HTTP response to HTTPS", ERR_FAILED, "registry '%s' speaks plain HTTP only",
	  "allow that: --tls-verify=false (to registry %s)", false },
	{ "unknown authority", ERR_FAILED,
	  "registry '%s' has a certificate that nobody here vouches for", HINT_CERTIFICATE, false },
	{ "x509:", ERR_FAILED, "the certificate of registry '%s' is not valid for it",
	  HINT_CERTIFICATE, false },
	{ "connection refused", ERR_FAILED, "registry '%s' refuses connections", HINT_REACH,
	  false },
	{ "no such host", ERR_FAILED, "registry '%s' has no address: its name is unknown",
	  "check the name's spelling: getent hosts %s", false },
	{ "no route to host", ERR_FAILED, "there is no way to registry '%s'", HINT_REACH, false },
	{ "network is unreachable", ERR_FAILED, "there is no way to registry '%s'", HINT_REACH,
	  false },
	{ "i/o timeout", ERR_TIMEOUT, "registry '%s' does not answer", HINT_REACH, false },
	{ "handshake timeout", ERR_TIMEOUT, "registry '%s' does not answer", HINT_REACH, false },
	{ "igest did not match", ERR_FAILED,
	  "a blob that went to or came from registry '%s' is not what its digest says",
	  "if it was pushed, the blob cache is damaged: ember image prune --blobs (registry %s)",
	  false },
};

/* A connection that broke under way; what was whole is kept. */
static const char *const broken[] = { "unexpected EOF", "connection reset by peer", "broken pipe",
				      "stream error", ": EOF" };

static const Meaning lost = { NULL, ERR_FAILED, "the connection to registry '%s' broke", HINT_REACH,
			      false };

static const char *prefix_of(SkopeoVerb verb)
{
	switch (verb) {
	case SKOPEO_COPY_FROM:
		return "src-";
	case SKOPEO_COPY_TO:
		return "dest-";
	case SKOPEO_INSPECT:
		break;
	}
	return "";
}

/* Layers and archives say what they like about their size. The cache is on the disk of the working directory. */
static int check_growth(const Skopeo *skopeo, uint64_t put, Error **err)
{
	auto_fd dir = open(skopeo->cmd.dir, O_PATH | O_CLOEXEC);

	if (dir < 0)
		return error_set_errno(err, errno, "open '%s'", skopeo->cmd.dir);
	return spool_check(dir, put, SPOOL_BYTES_MAX, err);
}

static int watch(pid_t pid, void *arg, Error **err)
{
	Skopeo *skopeo = arg;
	const RegistryAccess *access = skopeo->access;
	uint64_t timeout_s = access->timeout_s ? access->timeout_s : SKOPEO_TIMEOUT_S;
	uint64_t got, put;

	if (os_process_io(pid, &got, &put) < 0)
		return 0;
	skopeo->is_too_much = skopeo->brings && check_growth(skopeo, put, err) < 0;
	if (skopeo->is_too_much)
		return -1;
	/* In either direction what is moved is written: to a file or to the registry. */
	report_bytes(skopeo->ctx, put, skopeo->total_bytes);
	if (got + put >= skopeo->moved_bytes + MOVED_BYTES || !skopeo->moved_bytes) {
		skopeo->moved_bytes = got + put;
		skopeo->silent_until = deadline_in_ms((int64_t)timeout_s * 1000);
		return 0;
	}
	/* A large layer on its way to a slow disk is not the registry's silence. */
	if (!access->host || !deadline_passed(skopeo->silent_until) ||
	    os_process_waits_for_disk(pid))
		return 0;
	error_set(err, ERR_TIMEOUT, "registry '%s' stalls: nothing moved for %llu seconds",
		  access->host, (unsigned long long)timeout_s);
	return error_hint(err, "try again, or be more patient: --timeout %llu",
			  (unsigned long long)timeout_s * 4);
}

/* "linux/arm/v7" in its words. */
static void add_platform(Command *cmd, const char *platform)
{
	const char *arch = platform + strlen("linux/");
	int len = (int)strcspn(arch, "/");

	command_add(cmd, "--override-os=linux");
	command_addf(cmd, "--override-arch=%.*s", len, arch);
	if (arch[len])
		command_addf(cmd, "--override-variant=%s", arch + len + 1);
}

int skopeo_init(Skopeo *skopeo, const Context *ctx, SkopeoVerb verb, const char *platform,
		const char *dir, const RegistryAccess *access, Error **err)
{
	const char *prefix = prefix_of(verb);
	auto_skopeo Skopeo made = {
		.ctx = ctx, .access = access, .brings = verb == SKOPEO_COPY_FROM, .auth_fd = -1
	};
	Command *cmd = &made.cmd;

	if (command_init_tool(cmd, "skopeo", err) < 0)
		return -1;
	/* Or archives would be unpacked in /var/tmp, and stay there when it is killed. */
	command_add(cmd, "--tmpdir=.");
	if (platform)
		add_platform(cmd, platform);
	command_add(cmd, verb == SKOPEO_INSPECT ? "inspect" : "copy");
	if (verb != SKOPEO_INSPECT)
		command_add(cmd, "--quiet");
	if (access->host && access->plain_http)
		command_addf(cmd, "--%stls-verify=false", prefix);
	if (access->host && access->creds) {
		if (image_auth_open(access->host, access->creds, &made.auth_fd, err) < 0)
			return -1;
		command_addf(cmd, "--%sauthfile=/dev/fd/3", prefix);
		cmd->pass_fd = made.auth_fd;
	}
	cmd->dir = dir;
	*skopeo = made;
	made = (Skopeo){ .auth_fd = -1 };
	return 0;
}

void skopeo_release(Skopeo *skopeo)
{
	command_release(&skopeo->cmd);
	close_fd(&skopeo->auth_fd);
}

static const Meaning *meaning_of(const char *said)
{
	for (size_t i = 0; said && i < ARRAY_SIZE(meanings); i++)
		if (strstr(said, meanings[i].said))
			return &meanings[i];
	for (size_t i = 0; said && i < ARRAY_SIZE(broken); i++)
		if (strstr(said, broken[i]))
			return &lost;
	return NULL;
}

static void set_meaning(const Skopeo *skopeo, const char *reference, const char *said, Error **err)
{
	const RegistryAccess *access = skopeo->access;
	const Meaning *meaning = access->host ? meaning_of(said) : NULL;

	if (said && strstr(said, "no space left")) {
		error_set(err, ERR_FAILED, "there is no space left for '%s'", reference);
		error_hint(err, "free some: ember image prune");
	} else if (meaning) {
		error_set(err, meaning->code, meaning->sentence, access->host);
		error_hint(err, meaning->hint,
			   meaning->is_about_repository ? access->repository : access->host);
	} else if (access->host) {
		error_set(err, ERR_FAILED, "skopeo failed with '%s'", reference);
		error_hint(err, "see what it says by itself: skopeo inspect docker://%s",
			   reference);
	} else {
		error_set(err, ERR_FAILED, "skopeo cannot read '%s'", reference);
		error_hint(err, "if it is damaged or cut short, get it again");
	}
}

/* A sentence instead of a command line and its status; what skopeo said stays as the evidence. */
static void explain(const Skopeo *skopeo, const char *reference, Error **err)
{
	auto_error cause = NULL;

	if (error_code(*err) != ERR_FAILED || skopeo->is_too_much)
		return;
	error_move(&cause, err);
	set_meaning(skopeo, reference, error_detail_text(cause), err);
	if (error_detail_text(cause))
		error_detail(err, error_detail_text(cause));
}

static int run_once(Skopeo *skopeo, Error **err)
{
	skopeo->moved_bytes = 0;
	strbuf_clear(&skopeo->cmd.output);
	return command_run(&skopeo->cmd, DEADLINE_NEVER, err);
}

int skopeo_run(Skopeo *skopeo, const char *reference, Error **err)
{
	auto_error first = NULL;

	/* Set here, because the Skopeo may have been moved since its init. */
	skopeo->cmd.on_tick = watch;
	skopeo->cmd.on_tick_arg = skopeo;
	if (run_once(skopeo, &first) == 0)
		return 0;
	if (skopeo->access->host && error_code(first) == ERR_FAILED && !skopeo->is_too_much &&
	    meaning_of(error_detail_text(first)) == &lost) {
		report_step(skopeo->ctx, "once more, since the connection broke: %s", reference);
		skopeo->total_bytes = 0;
		error_clear(&first);
		if (run_once(skopeo, &first) == 0)
			return 0;
	}
	explain(skopeo, reference, &first);
	error_move(err, &first);
	return -1;
}
