# create, start, stop, restart, delete, and what is said about a VM meanwhile.
load lib

setup_file() {
	new_state
	boot web
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

@test "create --wait ends when the agent answers" {
	equal "$(status_of web)" running
	equal "$(field web .image)" busybox
	equal "$(field web .memory_mib)" 256
}

@test "create --no-start makes a whole VM that never ran" {
	expect 0 ember vm create cold --image busybox "${SMALL[@]}" --no-start
	contains "$output" "created successfully"
	equal "$(status_of cold)" created
	equal "$(field cold .network)" null
	equal "$(field cold .cpus)" 1
	equal "$(field cold .disk_size_mib)" 8192
	[ -f "$(field cold .disk_path)" ]
	equal "$(stat -c %s "$(field cold .disk_path)")" $((8192 << 20))
}

@test "a name that is taken: exit 4, nothing changed" {
	expect 4 ember vm create web --image busybox --no-start
	explains "already exists" "'web'"
	equal "$(status_of web)" running
}

@test "an image that is missing: exit 3, names how to get it" {
	expect 3 ember vm create other --image nosuch --no-start
	explains "'nosuch'" "ember image"
	expect 3 ember vm inspect other
}

@test "an image name that was mistyped gets the one that was meant" {
	expect 3 ember vm create other --image busybix --no-start
	contains "$stderr" "busybox"
}

@test "names that are no names are refused before they touch a path" {
	local name long

	long=$(printf 'a%.0s' {1..300})
	for name in '../x' '..' '.' 'a/b' '' 'UPPER' 'héllo' 'a b' "$long" '.hidden' '-rf'; do
		expect 2 ember vm create --image busybox --no-start -- "$name"
		contains "$stderr" "ember: " "hint: "
	done
	expect 2 ember vm create --image busybox --no-start -rf
	[ ! -e "$EMBER_STATE_DIR/x" ] && [ ! -e "$EMBER_STATE_DIR/vms/x" ]
}

@test "sizes that are none are refused" {
	local size

	for size in 0G 1.5G 99999999T 512 512MB -1G 1X '' G 18446744073709551616K 1000K; do
		expect 2 ember vm create other --image busybox --no-start "--memory=$size"
		contains "$stderr" "hint: "
		expect 2 ember vm create other --image busybox --no-start "--disk-size=$size"
	done
	expect 2 ember vm create other --image busybox --no-start --memory 512
	contains "$stderr" "requires a unit suffix"
}

@test "disks of sizes beyond what there can be are refused before anything is made" {
	local size before

	before=$(ls -A "$EMBER_STATE_DIR" "$EMBER_STATE_DIR"/{vms,store,tmp})
	for size in 0 1 0M 1E; do
		expect 2 ember vm create other --image busybox --no-start "--disk-size=$size"
		contains "$stderr" "$size" "hint: "
	done
	expect 2 ember vm create other --image busybox --no-start --disk-size 17T
	explains "17 TiB is too large" "--disk-size 16T"
	expect 2 ember vm create other --image busybox --no-start --disk-size 1M
	explains "smaller than image 'busybox'" "--disk-size"
	expect 6 ember vm create other --image busybox --no-start --disk-size 16T
	explains "can grow to 1 TiB at most" "--disk-size 1T"
	equal "$(ls -A "$EMBER_STATE_DIR" "$EMBER_STATE_DIR"/{vms,store,tmp})" "$before"
}

@test "a disk smaller than the image is refused" {
	expect 2 ember vm create other --image debian --no-start --disk-size 4M
	contains "$stderr" "hint: "
}

@test "cpus must be at least 1" {
	expect 2 ember vm create other --image busybox --no-start --cpus 0
	contains "$stderr" "at least 1"
}

@test "a missing --image: exit 2" {
	expect 2 ember vm create other
	contains "$stderr" "--image" "hint: "
}

@test "start of a running VM says what it is and what was expected" {
	expect 4 ember vm start web
	explains "'web'" "is running, expected created, stopped"
}

@test "stop of a VM that never ran: exit 4 and the states that would do" {
	ember vm create idle --image busybox "${SMALL[@]}" --no-start
	expect 4 ember vm stop idle
	explains "is created" "expected running or paused"
}

@test "exec on a VM that never ran: 125 and how to start it" {
	ember vm create asleep --image busybox "${SMALL[@]}" --no-start
	expect 125 ember exec asleep -- true
	explains "is created" "ember vm start asleep"
}

@test "stop is orderly, start boots again, the disk keeps what was written" {
	boot cycle
	ember exec cycle -- sh -c 'echo kept >/root/note'
	expect 0 ember vm stop cycle
	contains "$output" stopped
	equal "$(status_of cycle)" stopped
	equal "$(field cycle .pid)" null
	expect 0 ember vm start cycle
	contains "$output" started
	expect 0 ember exec cycle -- cat /root/note
	equal "$output" kept
	ember vm delete --force cycle
}

@test "stop --force ends at once and start still works" {
	local began=$SECONDS

	boot forced
	began=$SECONDS
	expect 0 ember vm stop --force forced
	[ $((SECONDS - began)) -le 3 ]
	equal "$(status_of forced)" stopped
	expect 0 ember vm start forced
	expect 0 ember exec forced -- true
	ember vm delete --force forced
}

@test "restart boots anew" {
	local before after

	boot again
	before=$(field again .pid)
	expect 0 ember vm restart again
	after=$(field again .pid)
	[ "$before" != "$after" ]
	expect 0 ember exec again -- true
	ember vm delete --force again
}

@test "a guest that powers off by itself: stopped, nothing running, and wait sees it" {
	boot off
	ember exec off -- sh -c 'poweroff -f' || true
	expect 0 ember vm wait off --for stopped --timeout 60
	equal "$(status_of off)" stopped
	run processes
	until_true 5 bash -c "! '$CLI_DIR/processes-of' '$EMBER_STATE_DIR' | xargs -r ps -o args= -p | grep -q '$(field off .id)'"
	ember vm delete off
}

@test "wait --for ready on a VM that is up answers at once" {
	expect 0 ember vm wait web --for ready
}

@test "wait on a VM that is not there: exit 3" {
	expect 3 ember vm wait nosuch
}

@test "wait --for stopped gives up in time: exit 8" {
	expect 8 ember vm wait web --for stopped --timeout 1
}

@test "delete of a running VM needs --force" {
	expect 4 ember vm delete web
	explains "--force"
	equal "$(status_of web)" running
}

@test "delete takes the disk, the sockets and the record away" {
	local disk

	boot gone
	disk=$(field gone .disk_path)
	[ -f "$disk" ]
	expect 0 ember vm delete --force gone
	contains "$output" deleted
	[ ! -e "$disk" ]
	[ ! -e "$EMBER_STATE_DIR/vms/gone" ]
	expect 3 ember vm inspect gone
	expect 3 ember vm delete gone
}

@test "delete of several names tries each; the exit status is the first failure's" {
	ember vm create one --image busybox "${SMALL[@]}" --no-start
	ember vm create two --image busybox "${SMALL[@]}" --no-start
	expect 3 ember vm delete one nosuch two
	contains "$stderr" "'nosuch'"
	expect 3 ember vm inspect one
	expect 3 ember vm inspect two
}

@test "list: a table for people" {
	expect 0 ember vm list
	contains "${lines[0]}" NAME STATUS IMAGE CPUS MEMORY
	contains "$output" web running busybox "256"
}

@test "list: JSON sorted by name, whatever was made first" {
	ember vm create zz --image busybox "${SMALL[@]}" --no-start
	ember vm create aa --image busybox "${SMALL[@]}" --no-start
	expect 0 ember vm list --format json
	json '[.[].name] == ([.[].name] | sort)'
	json 'map(select(.name == "web"))[0].status == "running"'
	expect 0 ember vm list --format json --status running
	json '[.[].status] | unique == ["running"]'
	ember vm delete zz aa
}

@test "a mistyped VM name gets the one that was meant" {
	expect 3 ember vm inspect wbe
	contains "$stderr" "web"
}

@test "inspect --format json has the record's fields" {
	expect 0 ember vm inspect web --format json
	json '.name == "web" and .status == "running" and .schema == 1'
	json '.pid > 1 and .pid_start > 0 and (.id | test("^[0-9a-f-]{36}$"))'
	json '(.created_at | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$"))'
	json '(.labels | type) == "object" and (.ssh | type) == "object" and (.ports | type) == "array"'
	json '.network.mode != null and (.network.guest_mac | test("^[0-9a-f:]{17}$"))'
	json '.hypervisor == "qemu"'
}

@test "labels and the environment given at create" {
	expect 0 ember vm create tagged --image busybox "${SMALL[@]}" --wait --label tier=front --env GREETING=hi
	equal "$(field tagged .labels.tier)" front
	expect 0 ember exec tagged -- sh -c 'echo $GREETING $FROM_IMAGE'
	equal "$output" "hi yes"
	ember vm delete --force tagged
}

@test "network none: no card, and the agent still answers" {
	expect 0 ember vm create island --image busybox "${SMALL[@]}" --wait --network none
	expect 0 ember exec island -- sh -c 'ls /sys/class/net'
	[[ $output != *eth0* ]]
	ember vm delete --force island
}

@test "network user: the card is up with an address" {
	expect 0 ember exec web -- ip -4 addr show dev eth0
	contains "$output" "inet "
}

@test "the guest is called as its VM, and knows itself by that name" {
	expect 0 ember exec web -- hostname
	equal "$output" web
	expect 0 ember exec web -- grep -c web /etc/hosts
	expect 0 ember exec web -- cat /etc/hostname
	equal "$output" web
}

@test "the root file system fills the disk" {
	expect 0 ember exec web -- sh -c 'df -m / | tail -n 1'
	[ "$(awk '{ print $2 }' <<<"$output")" -gt 7000 ]
}

@test "the guest sees the memory and processors it was given" {
	expect 0 ember exec web -- sh -c 'grep -c ^processor /proc/cpuinfo; grep MemTotal /proc/meminfo'
	equal "${lines[0]}" 1
	[ "$(awk '{ print $2 }' <<<"${lines[1]}")" -gt 180000 ]
}

@test "logs: what the guest's console said" {
	ember exec web -- sh -c 'echo a line for the log >/dev/console'
	until_true 5 bash -c "'$EMBER' vm logs web 3>&- | grep -q 'a line for the log'"
	expect 0 ember vm logs web --tail 1
	equal "${#lines[@]}" 1
	expect 3 ember vm logs nosuch
}

@test "JSON of a change is the record as it now is" {
	expect 0 ember vm create made --image busybox "${SMALL[@]}" --no-start --format json
	json '.name == "made" and .status == "created"'
	equal "$stderr" ""
	expect 0 ember vm delete made --format json
	json '.status == "deleted"'
}

@test "JSON of a failure is the error, with the process's exit status in it" {
	expect 3 ember vm inspect nosuch --format json
	json '.error.code == "not_found" and .error.exit == 3 and (.error.context | type) == "array"'
	equal "$stderr" ""
	expect 125 ember exec nosuch --format json -- true
	json '.error.code == "not_found" and .error.exit == 125'
}

@test "-q says nothing on success and still reports errors" {
	expect 0 ember -q vm create quiet --image busybox "${SMALL[@]}" --no-start
	equal "$output$stderr" ""
	expect 4 ember -q vm create quiet --image busybox "${SMALL[@]}" --no-start
	contains "$stderr" "already exists"
	expect 0 ember -q vm delete quiet
	equal "$output$stderr" ""
}

@test "two CPUs" {
	expect 0 ember vm create twin --image busybox "${SMALL[@]}" --cpus 2 --wait
	expect 0 ember exec twin -- grep -c ^processor /proc/cpuinfo
	equal "$output" 2
	ember vm delete --force twin
}

@test "a reader that goes away early does no harm" {
	expect 0 bash -c "'$EMBER' vm list --format json 3>&- | head -c 1 >/dev/null"
}
