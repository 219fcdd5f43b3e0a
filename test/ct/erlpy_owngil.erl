%% What the suites of interpreters with a GIL of their own share.
-module(erlpy_owngil).

-export([skip_without/0, begin_case/1, end_case/1]).
-export([has_owngil/0, new/0, new_plain/0, interpreter/1, pool_interpreters/0]).
-export([none_in_use/0, in_use/0, left_before/0, leave_one/0]).

-include_lib("common_test/include/ct.hrl").

-import(erlpy_ct, [told/1, eventually/2]).

-define(WITHIN, 20000).

%% ok, or what init_per_suite answers instead.
skip_without() ->
    case has_owngil() of
        true -> ok;
        false -> {skip, "CPython before 3.12 has no interpreters with a GIL of their own"}
    end.

begin_case(Config) ->
    {ok, _} = application:ensure_all_started(erlpy),
    Config.

%% After a good case fresh calls go on being good, and no interpreter is in use.
end_case(Config) ->
    erlpy_ct:left_clean(Config, fun none_in_use/0).

has_owngil() ->
    {ok, Has} = py:eval("__import__('sys').version_info >= (3, 12)"),
    Has.

%% Where ct_owngil has been imported, which takes its time.
new() ->
    Context = new_plain(),
    _ = interpreter(Context),
    Context.

new_plain() ->
    {ok, Context} = py_context:new(#{mode => owngil}),
    Context.

%% But for those that a case has left behind on purpose, and those of the pool.
none_in_use() ->
    Pool = case application:get_env(erlpy, pool) of
        {ok, {owngil, Count}} -> Count;
        undefined -> 0
    end,
    erlpy_ct:collect(),
    eventually(fun() -> in_use() =< Pool + left_before() end, ?WITHIN).

in_use() ->
    #{interpreters := All, idle_interpreters := Idle} = py:info(),
    All - Idle.

left_before() ->
    persistent_term:get({?MODULE, left}, 0).

%% A case leaves one behind on purpose.
leave_one() ->
    persistent_term:put({?MODULE, left}, left_before() + 1).

interpreter(Context) ->
    {ok, Number} = py:call(Context, ct_owngil, interpreter, []),
    Number.

%% Those of two calls at a time.
pool_interpreters() ->
    ok = erlpy_ct:quiet(),
    {ok, Buf} = py_buffer:new(),
    Refs = [py:spawn_call(ct_owngil, read_told, [self(), Buf]) || _ <- [1, 2]],
    Numbers = [told(running) || _ <- Refs],
    ok = py_buffer:close(Buf),
    _ = [{ok, <<>>} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    lists:usort(Numbers).
