# What of a VM can be changed after it was made: its name and its settings; and what `vm list` makes of labels.
load lib

setup_file() {
	new_state
	boot web busybox --label tier=front
	ember exec web -- sh -c 'echo kept >/root/file; sync'
	ember vm stop web
	ember vm fork web child --no-start
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

@test "rename: the disk, the log and the forks follow, and the guest learns its name" {
	local id machine

	id=$(field web .id)
	machine=$(tr -d - <<<"$id")
	expect 0 ember vm rename web shop
	equal "$output" "VM 'web' renamed to 'shop'."
	equal "$(field shop '"\(.name) \(.id) \(.former_name)"')" "shop $id null"
	equal "$(jq -r .vm_name "$EMBER_STATE_DIR/vms/shop/launch.json")" shop
	expect 3 ember vm inspect web
	explains "vm 'web' does not exist"
	ember vm logs shop | grep -q .
	equal "$(field child .parent_vm)" shop
	expect 0 ember vm list --format json
	json '.[] | select(.name == "child").parent_vm == "shop"'

	ember vm start shop
	expect 0 ember exec shop -- sh -c 'hostname; cat /etc/hostname /root/file /etc/machine-id; grep -c shop /etc/hosts'
	equal "$output" "shop
shop
kept
$machine
1"
	ember exec shop -- sh -c 'echo mine >/etc/hostname; sync'
	ember vm stop shop
	expect 0 ember vm rename shop web --format json
	json '.name == "web" and .status == "stopped" and .former_name == null'
	ember vm start web
	expect 0 ember exec web -- hostname
	equal "$output" mine
	ember exec web -- sh -c 'echo web >/etc/hostname; sync'
	ember vm stop web
}

@test "rename: the fork of one that was renamed and is gone keeps the name it knew" {
	ember vm create grandpa --image busybox "${SMALL[@]}" --no-start
	ember vm fork grandpa pa --no-start
	ember vm rename grandpa old
	ember vm delete old
	equal "$(field pa .parent_vm)" grandpa
	# Somebody else of that name is not its parent: the record goes by the id.
	ember vm create grandpa --image busybox "${SMALL[@]}" --no-start
	ember vm rename grandpa stranger
	equal "$(field pa .parent_vm)" grandpa
	ember vm delete pa stranger
}

@test "rename: what is refused" {
	expect 4 ember vm rename web child
	explains "vm 'child' already exists"
	expect 4 ember vm rename web web
	explains "vm 'web' has that name already" "ember vm rename web NEW"
	[[ $stderr != *delete* ]]
	expect 3 ember vm rename wbe new
	explains "did you mean 'web'"
	[ ! -e "$EMBER_STATE_DIR/locks/vm-wbe.lock" ]
	expect 2 ember vm rename web Not-A-Name
	explains "'Not-A-Name' is not a valid vm name"
	ember vm start web
	expect 4 ember vm rename web new
	explains "is running, expected created or stopped" "ember vm stop web"
	ember vm stop web
}

@test "rename: two terminals, one winner each" {
	local pids=() i wins=0

	ember vm create a --image busybox "${SMALL[@]}" --no-start
	ember vm create b --image busybox "${SMALL[@]}" --no-start
	# Crosswise: both names are taken, so both must be refused, and nobody waits for ever.
	for i in 1 2 3 4; do
		ember vm rename a b >/dev/null 2>&1 & pids+=($!)
		ember vm rename b a >/dev/null 2>&1 & pids+=($!)
	done
	for i in "${pids[@]}"; do
		waited "$i"
		equal "$status" 4
	done
	pids=()
	for i in 1 2 3 4; do
		ember vm rename a "c$i" >/dev/null 2>&1 & pids+=($!)
	done
	for i in "${pids[@]}"; do
		waited "$i"
		[ "$status" -ne 0 ] || wins=$((wins + 1))
	done
	equal "$wins" 1
	equal "$(ember vm list --format json | jq '[.[] | select(.name | test("^c[1-4]$"))] | length')" 1
	ember vm delete b "$(ember vm list --format json | jq -r '.[].name | select(test("^c[1-4]$"))')"
}

@test "rename: the record is right whether the directory was renamed or not" {
	local step

	for step in vm.rename.record vm.rename.commit vm.rename.plan; do
		EMBER_KILL_AT=$step run ember vm rename child kid
		[ "$status" -ne 0 ]
		expect 0 ember vm list --format json
		json '[.[] | select(.status == "broken")] == []'
		[ ! -d "$EMBER_STATE_DIR/vms/kid" ] || ember vm rename kid child
		equal "$(field child .name)" child
	done
}

@test "update-config: what the next boot then has" {
	expect 0 ember vm update-config web --cpus 2 --memory 300M --network none --user 1 \
		--boot-args "ember.test=yes" -e GREETING=hello -e EMPTY= --hypervisor qemu
	equal "$output" "Updated VM 'web'."
	equal "$(field web '"\(.cpus) \(.memory_mib) \(.network_mode) \(.user) \(.boot_args) \(.hypervisor)"')" \
		"2 300 none 1 ember.test=yes qemu"
	expect 0 ember vm inspect web
	contains "$output" "Memory:           300 MiB" "Network:          none"
	ember vm start web
	expect 0 ember exec web -- sh -c 'id -u; echo "$GREETING"; cat /proc/cmdline; grep -c ^processor /proc/cpuinfo; ls /sys/class/net'
	contains "$output" "hello" "ember.test=yes"
	equal "$(sed -n '1p;4,$p' <<<"$output")" "1
2
lo"
	equal "$(field web '"\(.kernel) \(.kernel_path)"')" "null $EMBER_STATE_DIR/kernels/stock/vmlinux"
	ember vm stop web

	expect 0 ember vm update web --boot-args "" --network "" --user "" --hypervisor "" --cpus 1 --env GREETING- --format json
	json '.boot_args == null and .network_mode == null and .user == null and .cpus == 1'
	# What it ran with is no wish.
	json '.hypervisor_wish == null and .hypervisor == "qemu"'
	json '.env | index("EMPTY=") != null and (map(select(startswith("GREETING"))) == [])'
}

@test "update-config: kernel, ssh, and a user who is the image's again" {
	local kernel=$BATS_FILE_TMPDIR/key

	echo key >"$kernel"
	expect 0 ember vm update-config child --ssh-user admin --ssh-key "$kernel" --kernel stock --format json
	json ".ssh == {user: \"admin\", key: \"$kernel\"} and .kernel == \"stock\""
	(cd "$BATS_FILE_TMPDIR" && ember vm update-config child --ssh-key key)
	equal "$(field child .ssh.key)" "$kernel"
	expect 0 ember vm inspect child
	contains "$output" "SSH user:         admin" "SSH key:          $kernel"
	expect 0 ember vm update-config child --ssh-user "" --ssh-key "" --kernel "" --format json
	json '.ssh == {user: null, key: null} and .kernel == null and .kernel_path == null'
}

@test "update-config: labels, also of a VM that runs" {
	expect 0 ember vm update-config child --label a=1 --label b=x=y --label a=2
	equal "$(field child '.labels | tojson')" '{"tier":"front","a":"2","b":"x=y"}'
	ember vm start child
	expect 0 ember vm update-config child --label tier=back --label a- --label nosuch-
	equal "$(field child '.labels | tojson')" '{"tier":"back","b":"x=y"}'
	equal "$(status_of child)" running
	expect 4 ember vm update-config child --label c=1 --memory 512M
	explains "is running, expected created or stopped" "ember vm stop child"
	equal "$(field child '.labels | tojson')" '{"tier":"back","b":"x=y"}'
	ember exec child -- true
	ember vm stop child
	ember vm update-config child --label tier=front --label b-
}

@test "update-config: what is so already is no change, and the answer says so" {
	local record=$EMBER_STATE_DIR/vms/child/vm.json before

	ember vm update-config child --memory 300M --label tier=front --env A=1 --env B=2
	before=$(stat -c '%i %y' "$record")
	expect 0 ember vm update-config child --memory 300M --label tier=front --label nosuch- --env A=1 --env NONE-
	equal "$output" "Nothing to change: VM 'child' is set like that already."
	expect 0 ember vm update-config child --label new=1 --label new-
	contains "$output" "Nothing to change"
	expect 0 ember vm update-config child --memory 300M --format json
	json '.memory_mib == 300 and .labels == {"tier":"front"}'
	expect 0 ember -q vm update-config child --memory 300M
	equal "$output$stderr" ""
	equal "$(stat -c '%i %y' "$record")" "$before"
	expect 0 ember vm update-config child --memory 256M --env A- --env B-
	equal "$output" "Updated VM 'child'."
}

@test "update-config: its help says what counts from when" {
	expect 0 ember vm update-config --help
	contains "$output" $'The machine, from its next boot on:\n      --cpus N' \
		$'What runs in it, from its next boot on:\n      --user USER' $'At any time:\n      --label KEY=value'
	[[ $output != *"Options:"* ]]
}

@test "update-config: what is refused changes nothing" {
	local before

	before=$(cat "$EMBER_STATE_DIR/vms/web/vm.json")
	expect 2 ember vm update-config web
	explains "no configuration changes specified" "ember vm update-config web --memory 2G"
	expect 2 ember vm update-config web --cpus 0
	explains "cpus must be at least 1"
	expect 2 ember vm update-config web --cpus 100000
	explains "more than this host can give"
	expect 2 ember vm update-config web --memory 12M
	explains "--memory: 12 MiB is out of range"
	expect 2 ember vm update-config web --memory ""
	contains "$(ember vm update-config --help)" "--cpus and --memory take numbers only"
	expect 2 ember vm update-config web --memory 512
	explains "requires a unit suffix"
	expect 2 ember vm update-config web --network bridge
	explains "bridge"
	expect 2 ember vm update-config web --hypervisor vmware
	explains "vmware"
	expect 3 ember vm update-config web --kernel nosuch
	explains "nosuch"
	expect 2 ember vm update-config web --kernel "$BATS_TEST_FILENAME"
	explains "$BATS_TEST_FILENAME"
	expect 3 ember vm update-config web --ssh-key /nosuch
	explains "--ssh-key: cannot read '/nosuch'"
	expect 2 ember vm update-config web --ssh-key "$BATS_TEST_TMPDIR"
	explains "--ssh-key: '$BATS_TEST_TMPDIR' is not a regular file"
	expect 2 ember vm update-config web --label tier
	explains "--label wants KEY=value or KEY- to remove it, not 'tier'"
	expect 2 ember vm update-config web --env =x
	explains "--env wants KEY=value or KEY- to remove it"
	expect 2 ember vm update-config web --label -
	explains "--label"
	expect 2 ember vm update-config web --boot-args $'\xff'
	explains "UTF-8"
	expect 2 ember vm update-config web --label $'a=\xff' --memory 512M
	explains "UTF-8"
	expect 3 ember vm update-config wbe --cpus 1
	explains "did you mean 'web'"
	[ ! -e "$EMBER_STATE_DIR/locks/vm-wbe.lock" ]
	equal "$(cat "$EMBER_STATE_DIR/vms/web/vm.json")" "$before"
}

@test "update-config: two terminals, and no change is lost" {
	local pids=() i

	for i in 1 2 3 4 5 6; do
		ember vm update-config web --label "n$i=yes" >/dev/null &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		waited "$i"
		equal "$status" 0
	done
	equal "$(field web '[.labels | keys[] | select(startswith("n"))] | length')" 6
}

@test "list: by state and label, several of each, and mistakes" {
	ember vm update-config child --label tier=front --label old=1
	ember vm update-config web --label tier=back
	expect 0 ember vm list --label tier --format json
	json '[.[].name] == ["child", "web"]'
	expect 0 ember vm list --label tier=front
	contains "$output" child
	[[ $output != *web* ]]
	expect 0 ember vm list --label tier --label old --format json
	json '[.[].name] == ["child"]'
	expect 0 ember vm list --label tie --format json
	json '. == []'
	expect 0 ember vm list --label tier=
	equal "$output" "No VMs found that match."
	expect 0 ember vm list --status stopped --status created --label tier=back --format json
	json '[.[].name] == ["web"]'
	expect 0 ember vm list --status running --format json
	json '. == []'
	expect 2 ember vm list --status stoppd
	explains "--status does not know 'stoppd'" "did you mean 'stopped'"
	expect 2 ember vm list --label =front
	explains "--label"
	ember vm inspect child | grep -q '^Labels: .*tier=front, old=1$'
}
