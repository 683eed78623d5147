/*
 * channel KEEPER_SOCKET RUNS: on one open connection to a VM's keeper, the echo round trip to the
 * agent in the guest (ping), and `exec true` the same way, turn by turn.
 */
#include <fcntl.h>
#include <signal.h>

#include "agent/client.h"
#include "bench.h"
#include "util/mem.h"

enum { WARM_UP_RUNS = 3, TIMEOUT_MS = 10000 };

static int measure_ping(Client *client, Samples *samples, Error **err)
{
	auto_agent_info AgentInfo info = { 0 };

	if (client_ping(client, deadline_in_ms(TIMEOUT_MS), &info, err) < 0)
		return -1;
	samples_add(samples, (uint64_t)info.round_trip_ns);
	return 0;
}

static int measure_exec(Client *client, const Strv *argv, int null_fd, Samples *samples,
			Error **err)
{
	const ExecRequest request = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = null_fd, .stderr_fd = null_fd
	};
	auto_exec_result ExecResult result = { 0 };
	uint64_t began = now_ns();

	if (client_exec(client, &request, &result, err) < 0)
		return -1;
	samples_add(samples, now_ns() - began);
	if (exec_result_status(&result) != 0)
		return error_set(err, ERR_FAILED, "'true' failed in the guest");
	return 0;
}

static int measure(const char *socket, int runs, Error **err)
{
	auto_client client = NULL;
	auto_strv Strv argv = { 0 };
	auto_fd null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	Samples ping = { 0 }, exec = { 0 };

	strv_push(&argv, "true");
	if (client_open(socket, deadline_in_ms(TIMEOUT_MS), &client, err) < 0)
		return -1;
	for (int i = -WARM_UP_RUNS; i < runs; i++) {
		if (i == 0)
			ping.count = exec.count = 0;
		if (measure_ping(client, &ping, err) < 0 ||
		    measure_exec(client, &argv, null_fd, &exec, err) < 0)
			return -1;
	}
	printf("{");
	samples_print("ours", &exec, ",");
	samples_print("reference", &ping, "}\n");
	return 0;
}

int main(int argc, char **argv)
{
	auto_error err = NULL;

	(void)signal(SIGPIPE, SIG_IGN);
	if (argc != 3 || atoi(argv[2]) < 1) {
		(void)fprintf(stderr, "usage: channel KEEPER_SOCKET RUNS\n");
		return 2;
	}
	if (measure(argv[1], atoi(argv[2]), &err) < 0) {
		auto_free char *text = error_sentence(err);

		(void)fprintf(stderr, "%s\n", text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
