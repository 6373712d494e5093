# What an operator does on the machine, after docs/operators-guide.md: database, keys, token, contracts,
# units. The chain is anvil, the exchanges are the local world's. Run by test_service_manager.py.
set -euo pipefail
rpc=http://127.0.0.1:8545
systemd-run --quiet --unit=chain anvil --host 127.0.0.1 --port 8545 --chain-id 6343 --block-time 1 --mixed-mining \
    --base-fee 1000000 --gas-limit 10000000000 --code-size-limit 524288 --hardfork prague --silent
systemd-run --quiet --unit=exchanges /opt/aml/bin/python -m relayer.local.server --state /srv/world --now

ask() { curl -sf $rpc -H 'content-type: application/json' -d "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"$1\", \"params\": $2}"; }
umask 077
mkdir keys
od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >keys/database
runuser -u postgres -- sh -c 'cd / && createuser aml && createdb -O aml aml'
echo "alter role aml password '$(cat keys/database)'" | runuser -u postgres -- sh -c 'cd / && psql -q'

declare -A at
made() { at[$2]=$(aml keys new "$1/$2" --password-file "$1/password" 2>/dev/null | grep -Eo '0x[0-9a-fA-F]{40}' | head -1); }
for name in gas-payer relay deployer; do made keys $name; done
for name in gas-payer deployer; do ask anvil_setBalance "[\"${at[$name]}\", \"0x56bc75e2d63100000\"]" >/dev/null; done
install -m 0755 -d /etc/aml
peers=
for number in 1 2 3; do
    install -m 0700 -d /etc/aml/signer-$number
    for kind in transport price risk; do made /etc/aml/signer-$number $kind; done
    peers+=$(printf '\n[[signers.peers]]\nurl = "http://127.0.0.1:930%s"\ntransport = "%s"\nprice = "%s"\nrisk = "%s"\n_' \
        $number "${at[transport]}" "${at[price]}" "${at[risk]}")
    peers=${peers%_}
done
python3 -c '
import json
from relayer.chain.margin import test_token_bytecode
sent = {"from": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "data": "0x" + bytes(test_token_bytecode()).hex()}
print(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_sendTransaction", "params": [sent]}))' >token.json
hash=$(curl -sf $rpc -H 'content-type: application/json' -d @token.json | grep -Eo '0x[0-9a-f]{64}')
until token=$(ask eth_getTransactionReceipt "[\"$hash\"]" | grep -Eo '"contractAddress":"0x[0-9a-fA-F]{40}' | cut -d'"' -f4); do sleep 1; done

cat >aml.toml <<T
extends = "megaeth-testnet"

[network]
name = "machine"
rpc_url = "$rpc"

[storage]
url = "postgresql://aml@127.0.0.1/aml"
password_file = "credential:database"

[keys]
gas_payer = "credential:gas-payer"
deployer = "credential:deployer"
password_file = "credential:password"

[signers]
relays = ["${at[relay]}"]
relay_key = "credential:relay"
password_file = "credential:password"
$peers
[signers.own]
price_key = "credential:price"
risk_key = "credential:risk"
transport_key = "credential:transport"

[deployment]
owner = "0x4444444444444444444444444444444444444444"
guardian = "0x5555555555555555555555555555555555555555"
token = "$token"

T
until aml local exchanges --state /srv/world >exchanges.toml 2>/dev/null; do systemctl --quiet is-active exchanges; done
cat exchanges.toml >>aml.toml
aml config check aml.toml
CREDENTIALS_DIRECTORY=$PWD/keys aml deploy --network aml.toml --state /var/lib/aml

cp /srv/units/*.service /etc/systemd/system/
install -m 0700 -d /etc/aml/keys
install -m 0600 keys/gas-payer keys/relay keys/password keys/database /etc/aml/keys
for name in aml agent relay signer-1 signer-2 signer-3 watcher; do install -m 0644 aml.toml /etc/aml/$name.toml; done
for name in signer-1 signer-2 signer-3 watcher agent relay; do install -D -m 0600 /var/lib/aml/deployment.json /var/lib/aml-$name/deployment.json; done
mkdir -p /etc/systemd/system/aml.service.d
printf '[Service]\nLoadCredential=database:/etc/aml/keys/database\n' >/etc/systemd/system/aml.service.d/database.conf
systemctl daemon-reload
