# The keeper: parent of one VM's hypervisor. What happens when either is killed, what it costs, and
# that two installations do not meet.
load lib

setup_file() {
	new_state
	boot web
}

teardown_file() {
	drop_state
}

# The keeper has its VM's directory in its arguments.
keeper_of() {
	pgrep -f "ember-keeper.*$EMBER_STATE_DIR.*$1( |\$)|ember-keeper.*$EMBER_STATE_DIR/vms/$1/" | head -n 1
}

gone() {
	! kill -0 "$1" 2>/dev/null
}

@test "one keeper and one hypervisor for a running VM, the one the parent of the other" {
	local keeper

	keeper=$(keeper_of web)
	[ -n "$keeper" ]
	equal "$(ps -o ppid= -p "$(field web .pid)" | tr -d ' ')" "$keeper"
	equal "$(ps -o comm= -p "$(field web .pid)" | cut -c1-11)" qemu-system
}

@test "the keeper takes less than 2 MB of memory for itself" {
	[ -z "${EMBER_SANITIZED-}" ] || skip "the sanitizers' own memory counts"
	local pss

	pss=$(awk '/^Pss:/ { print $2 }' "/proc/$(keeper_of web)/smaps_rollup")
	echo "# keeper PSS: $pss kB" >&3
	[ "$pss" -lt 2048 ]
}

@test "neither holds a descriptor of the shell that started them" {
	local pid marker=$BATS_TEST_TMPDIR/marker

	exec 7>"$marker"
	"$EMBER" vm create open --image busybox "${SMALL[@]}" --wait 3>&-
	exec 7>&-
	for pid in $(keeper_of open) $(field open .pid); do
		run find "/proc/$pid/fd" -lname "$marker"
		equal "$output" ""
		[ "$(readlink "/proc/$pid/fd/0")" = /dev/null ]
	done
	ember vm delete --force open
}

@test "kill -9 of the keeper: the VM goes on and the next command adopts it" {
	local keeper pid

	ember exec web -- sh -c 'echo before >/tmp/mark'
	pid=$(field web .pid)
	keeper=$(keeper_of web)
	kill -9 "$keeper"
	until_true 5 gone "$keeper"
	equal "$(status_of web)" running
	expect 0 ember exec web -- cat /tmp/mark
	equal "$output" before
	equal "$(field web .pid)" "$pid"
	[ -n "$(keeper_of web)" ] && [ "$(keeper_of web)" != "$keeper" ]
}

@test "killed in the middle of a transfer: the stream ends with an error, the next command works" {
	local keeper client

	keeper=$(keeper_of web)
	ember exec web -- cat /dev/zero >/dev/null 2>"$BATS_TEST_TMPDIR/err" &
	client=$!
	sleep 1
	kill -9 "$keeper"
	waited "$client"
	equal "$status" 125
	expect 0 ember exec web -- echo again
	equal "$output" again
}

@test "many commands at once after the keeper was killed: one keeper adopts" {
	local i keeper

	keeper=$(keeper_of web)
	kill -9 "$keeper"
	until_true 5 gone "$keeper"
	for i in $(seq 8); do
		ember exec web -- echo "$i" >"$BATS_TEST_TMPDIR/$i" &
	done
	wait
	for i in $(seq 8); do
		equal "$(cat "$BATS_TEST_TMPDIR/$i")" "$i"
	done
	equal "$(pgrep -fc "ember-keeper.*$EMBER_STATE_DIR")" 1
}

@test "an adopted VM stops in order, and its record says so" {
	local pid

	boot adopted
	pid=$(field adopted .pid)
	kill -9 "$(keeper_of adopted)"
	expect 0 ember vm stop adopted
	equal "$(status_of adopted)" stopped
	until_true 5 gone "$pid"
	ember vm delete adopted
}

@test "an adopted guest that powers off by itself is seen to" {
	boot leaver
	kill -9 "$(keeper_of leaver)"
	ember exec leaver -- sh -c 'poweroff -f' || true
	expect 0 ember vm wait leaver --for stopped --timeout 60
	equal "$(status_of leaver)" stopped
	ember vm delete leaver
}

@test "kill -9 of the hypervisor: stopped, the reason is told, start works again" {
	boot victim
	kill -9 "$(field victim .pid)"
	until_true 5 bash -c "'$EMBER' vm inspect victim --format json 3>&- | jq -e '.status == \"stopped\"'"
	expect 125 ember exec victim -- true
	contains "$stderr" "ember vm start victim"
	# The keeper writes it when it is done with everything else.
	until_true 20 test -e "$EMBER_STATE_DIR/vms/victim/exit.json"
	equal "$(jq -c '[.reason, .status]' "$EMBER_STATE_DIR/vms/victim/exit.json")" '["killed",137]'
	expect 0 ember vm start victim
	expect 0 ember exec victim -- true
	ember vm delete --force victim
}

@test "kill -9 of both: readers tell the truth, start works again" {
	local pid

	boot both
	pid=$(field both .pid)
	kill -9 "$(keeper_of both)" "$pid"
	until_true 5 gone "$pid"
	equal "$(status_of both)" stopped
	expect 0 ember vm start both
	expect 0 ember exec both -- true
	ember vm delete --force both
}

@test "a hypervisor that dies ends the exec that was running" {
	local client

	boot dying
	ember exec dying -- sleep 300 &
	client=$!
	sleep 1
	kill -9 "$(field dying .pid)"
	waited "$client"
	equal "$status" 125
	until_true 5 bash -c "'$EMBER' vm inspect dying --format json 3>&- | jq -e '.status == \"stopped\"'"
	ember vm delete dying
}

@test "no keeper outlives its VM" {
	local keeper

	boot short
	keeper=$(keeper_of short)
	ember vm stop short
	until_true 5 gone "$keeper"
	ember vm delete short
}

@test "a recycled pid is not the VM" {
	local record=$EMBER_STATE_DIR/vms/reborn/vm.json sleeper

	ember vm create reborn --image busybox "${SMALL[@]}" --no-start
	sleep 300 3>&- &
	sleeper=$!
	jq --argjson pid "$sleeper" '.status = "running" | .pid = $pid | .pid_start = 1' "$record" >"$BATS_TEST_TMPDIR/record"
	cat "$BATS_TEST_TMPDIR/record" >"$record"
	equal "$(status_of reborn)" stopped
	ember vm delete --force reborn
	kill -0 "$sleeper"
	kill "$sleeper"
}

@test "two installations side by side, the same names in both" {
	local first=$EMBER_STATE_DIR

	new_state keeper-second
	boot web
	ember exec web -- sh -c 'echo second >/tmp/who'
	EMBER_STATE_DIR=$first ember exec web -- sh -c 'echo first >/tmp/who'
	expect 0 ember exec web -- cat /tmp/who
	equal "$output" second
	expect 0 ember vm delete --force web
	expect 0 ember reconcile
	drop_state
	EMBER_STATE_DIR=$first
	expect 0 ember exec web -- cat /tmp/who
	equal "$output" first
}

@test "a long state directory does not make a long socket" {
	local first=$EMBER_STATE_DIR long

	long=keeper-$(printf 'long%.0s' {1..30})
	new_state "$long"
	boot far
	expect 0 ember exec far -- true
	drop_state
	EMBER_STATE_DIR=$first
}
