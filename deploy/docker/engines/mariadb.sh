# Starts MariaDB: makes its folder the first time, and the database and its user each time, from
# the environment of the official image. Options are passed on.
set -eu
data=/var/lib/mysql
: "${MARIADB_DATABASE:?}" "${MARIADB_USER:?}" "${MARIADB_PASSWORD:?}"

if [ ! -d "$data/mysql" ]; then
  # Made beside and renamed: a container that is killed meanwhile begins afresh.
  rm -rf "$data/new"
  mariadb-install-db --no-defaults --datadir="$data/new" --skip-test-db \
    --auth-root-authentication-method=socket >/dev/null
  find "$data/new" -mindepth 1 -maxdepth 1 ! -name mysql -exec mv {} "$data/" \;
  mv "$data/new/mysql" "$data/mysql"
  rmdir "$data/new"
fi

# As it stands in quotes in SQL.
quoted() { printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g"; }
password=$(quoted "$MARIADB_PASSWORD")
init=/tmp/init.sql
(
  umask 077
  cat >"$init" <<SQL
CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;
CREATE USER IF NOT EXISTS '$MARIADB_USER'@'%' IDENTIFIED BY '$password';
GRANT ALL ON \`$MARIADB_DATABASE\`.* TO '$MARIADB_USER'@'%';
SQL
)
[ "${1:-}" != mariadbd ] || shift
exec mariadbd --no-defaults --datadir="$data" --bind-address=0.0.0.0 --skip-name-resolve \
  --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid --init-file="$init" "$@"
