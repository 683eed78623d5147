# cp: a file in, a file out, and what a user would try.
load lib

setup_file() {
	new_state
	boot web
}

teardown_file() {
	drop_state
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
}

@test "there and back, byte for byte, with the mode" {
	head -c 5000000 /dev/urandom >data
	chmod 750 data
	expect 0 ember cp data web:/root/data
	expect 0 ember exec web -- stat -c '%a %s' /root/data
	equal "$output" "750 5000000"
	expect 0 ember cp web:/root/data back
	cmp data back
	equal "$(stat -c %a back)" 750
}

@test "an empty file" {
	: >empty
	expect 0 ember cp empty web:/tmp/empty
	expect 0 ember cp web:/tmp/empty empty-back
	equal "$(stat -c %s empty-back)" 0
}

@test "a directory as destination takes the name" {
	echo x >named
	mkdir dir
	expect 0 ember cp named web:/tmp
	expect 0 ember exec web -- cat /tmp/named
	equal "$output" x
	expect 0 ember cp web:/tmp/named dir
	equal "$(cat dir/named)" x
	expect 0 ember cp web:/tmp/named dir/
}

@test "- is stdin and stdout" {
	expect 0 bash -c "echo piped | '$EMBER' cp - web:/tmp/piped 3>&-"
	expect 0 ember cp web:/tmp/piped -
	equal "$output" piped
}

@test "it replaces what is there, whole" {
	printf 'a long first version\n' >v1
	printf 'short\n' >v2
	ember cp v1 web:/tmp/version
	ember cp v2 web:/tmp/version
	expect 0 ember exec web -- cat /tmp/version
	equal "$output" short
}

@test "what is missing: exit 3 and which one" {
	expect 3 ember cp nosuch web:/tmp/x
	explains "nosuch"
	expect 3 ember cp web:/no/such here
	explains "/no/such"
	[ ! -e here ]
	echo x >there
	expect 3 ember cp there web:/no/such/dir/x
	expect 3 ember cp there nosuch:/tmp/x
}

@test "both sides in a VM, or neither: usage" {
	echo x >a
	expect 2 ember cp a b
	contains "$stderr" "hint: "
	[ ! -e b ]
}

@test "a directory as source is refused with a hint" {
	mkdir tree
	run --separate-stderr ember cp tree web:/tmp/tree
	refused
	contains "$stderr" "ember: " "hint: "
}

@test "a name with a space, a dash and other letters" {
	echo odd >'-o dd ü'
	expect 0 ember cp './-o dd ü' 'web:/tmp/-o dd ü'
	expect 0 ember cp 'web:/tmp/-o dd ü' out
	equal "$(cat out)" odd
}

@test "a guest disk that is full: a clear failure, the file not half there" {
	ember exec web -- mkdir -p /tmp/small
	ember exec web -- mount -t tmpfs -o size=1m tmpfs /tmp/small
	head -c 4000000 /dev/zero >big
	run --separate-stderr ember cp big web:/tmp/small/big
	refused
	contains "$stderr" "ember: " "hint: "
	run --separate-stderr ember exec web -- test -e /tmp/small/big
	[ "$status" -eq 1 ]
}

@test "a VM that is not running: how to start it" {
	ember vm create cold --image busybox "${SMALL[@]}" --no-start
	echo x >x
	expect 4 ember cp x cold:/tmp/x
	explains "ember vm start cold"
}
