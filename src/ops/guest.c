#include "ops/guest.h"

#include <unistd.h>

#include "agent/client.h"
#include "ops/guest_connect.h"
#include "ops/vm.h"
#include "ops/vm_process.h"
#include "state/records.h"
#include "util/mem.h"

#define ANSWER_MS 500

#define STUCK_SENTENCE "vm '%s' stands still: " VM_STUCK_REASON
#define STUCK_HINT     "make room (df -h '%s'); if it does not go on then: ember vm stop --force %s"

/* It would not answer. A keeper must be there, which knows. */
static int refuse_stuck(const Context *ctx, const Vm *vm, Error **err)
{
	if (!store_vm_is_stuck(&ctx->store, vm->id))
		return 0;
	error_set(err, ERR_STATE, STUCK_SENTENCE, vm->name);
	return error_hint(err, STUCK_HINT, ctx->store.dir, vm->name);
}

static int connect_once(Context *ctx, const Vm *vm, Deadline until, Client **out_client,
			Error **err)
{
	auto_client client = NULL;

	if (vm_process_connect(ctx, vm, &client, err) < 0 || refuse_stuck(ctx, vm, err) < 0 ||
	    client_wait_ready(client, until, err) < 0)
		return -1;
	*out_client = steal(&client);
	return 0;
}

/* A keeper that is killed meanwhile takes the connection with it, but not the VM: connecting again adopts it. Nothing
 * has been asked of the guest yet, so nothing happens twice. */
static int connect_ready(Context *ctx, const Vm *vm, int64_t timeout_ms, Client **out_client,
			 Error **err)
{
	/* Not to wait still leaves the keeper time to answer. */
	Deadline until = deadline_in_ms(timeout_ms > ANSWER_MS ? timeout_ms : ANSWER_MS);
	auto_error lost = NULL;
	int result;

	report_step(ctx, "wait for the guest of vm '%s'", vm->name);
	result = connect_once(ctx, vm, until, out_client, &lost);
	if (result < 0 && error_code(lost) == ERR_FAILED && proc_is_alive(&vm->process))
		result = connect_once(ctx, vm, until, out_client, err);
	else if (result < 0)
		error_move(err, &lost);
	if (result < 0) {
		error_hint(err, "see what it says: ember vm logs %s", vm->name);
		return error_wrap(err, "wait for the guest of vm '%s'", vm->name);
	}
	report_done(ctx);
	return 0;
}

int guest_connect(Context *ctx, const char *name, int64_t timeout_ms, Vm *out_vm,
		  Client **out_client, Error **err)
{
	auto_vm Vm vm = { 0 };

	if (records_read_vm(&ctx->store, name, &vm, err) < 0)
		return -1;
	ops_vm_observe(&vm);
	if (vm_require_state(&vm, "running", VM_MASK(VM_RUNNING), err) < 0 ||
	    connect_ready(ctx, &vm, timeout_ms, out_client, err) < 0)
		return -1;
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}

int ops_guest_wait_ready(Context *ctx, const Vm *vm, int64_t timeout_ms, Error **err)
{
	auto_client client = NULL;

	return connect_ready(ctx, vm, timeout_ms, &client, err);
}

/* The guest's words for it, and a hint. */
static int not_started(const char *name, const ExecResult *result, Error **err)
{
	error_set(err, result->error == WIRE_ERR_NOT_FOUND ? ERR_NOT_FOUND : ERR_FAILED, "%s",
		  result->message ? result->message : "the guest did not say why");
	error_hint(err, "look around in it: ember exec --user root %s -- ls -l /", name);
	return error_wrap(err, "vm '%s'", name);
}

/* A command in the guest that says nothing. */
typedef struct Silence {
	const Context *ctx;
	const Vm *vm;
	bool is_told;
} Silence;

/* Said once: it is no failure, for the command goes on with the VM. */
static void on_silence(void *arg)
{
	Silence *silence = arg;
	const Store *store = &silence->ctx->store;
	const Vm *vm = silence->vm;
	bool is_stuck = store_vm_is_stuck(store, vm->id);

	if (is_stuck && !silence->is_told)
		report_warning(silence->ctx, STUCK_SENTENCE "\nhint: " STUCK_HINT, vm->name,
			       store->dir, vm->name);
	silence->is_told |= is_stuck;
}

int ops_guest_exec(Context *ctx, const char *name, const ExecOptions *options, int *out_status,
		   Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_client client = NULL;
	auto_strv Strv env = { 0 };
	auto_exec_result ExecResult result = { 0 };

	if (guest_connect(ctx, name, options->wait_ms, &vm, &client, err) < 0)
		return -1;
	strv_copy(&env, &vm.env);
	if (options->env)
		env_merge(&env, options->env);
	Silence silence = { .ctx = ctx, .vm = &vm };
	ExecRequest request = {
		.argv = options->argv,
		.env = &env,
		.cwd = options->workdir ? options->workdir : vm.workdir,
		.user = options->user ? options->user : vm.user,
		.stdin_fd = options->connect_stdin ? STDIN_FILENO : -1,
		.stdout_fd = STDOUT_FILENO,
		.stderr_fd = STDERR_FILENO,
		.silent = on_silence,
		.silent_arg = &silence,
	};

	if (client_exec(client, &request, &result, err) < 0)
		return error_wrap(err, "run '%s' in vm '%s'", options->argv->items[0], name);
	*out_status = exec_result_status(&result);
	return result.end == EXEC_NOT_STARTED ? not_started(name, &result, err) : 0;
}
