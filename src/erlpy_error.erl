%% @private
%% Bad arguments of the public functions: `badarg' with the place and the reason, in the
%% form of EEP 54, so that the shell says which argument it was.
-module(erlpy_error).

-export([badarg/4, badarg_at/4]).
-export([no_owngil/0]).
-export([format_error/2]).

-export_type([call/0]).

-type call() :: {Function :: atom(), Args :: [term()]}.

%% Raises `badarg' as if the public function had done it.  `Wrong' is the value at fault,
%% the first such among its arguments.
-spec badarg(module(), call(), term(), string()) -> no_return().
badarg(Module, {_, Args} = Who, Wrong, Text) ->
    badarg_at(Module, Who, position(Wrong, Args, 1), Text).

%% The same for argument number `Position', also when it equals an earlier one.
-spec badarg_at(module(), call(), pos_integer(), string()) -> no_return().
badarg_at(Module, {Function, Args}, Position, Text) ->
    Info = #{module => ?MODULE, cause => #{Position => Text}},
    Frame = {Module, Function, Args, [{error_info, Info}]},
    erlang:raise(error, badarg, [Frame | callers(Module)]).

position(Wrong, [Wrong | _], N) -> N;
position(Wrong, [_ | Rest], N) -> position(Wrong, Rest, N + 1).

callers(Module) ->
    {current_stacktrace, [_ProcessInfo | Frames]} =
        process_info(self(), current_stacktrace),
    Ours = [Module, ?MODULE, erlpy_options],
    lists:dropwhile(fun({M, _, _, _}) -> lists:member(M, Ours) end, Frames).

%% Why there are no interpreters with a GIL of their own.
-spec no_owngil() -> binary().
no_owngil() ->
    <<"the mode owngil needs CPython 3.12 or later; this is ", (py_nif:version())/binary>>.

-spec format_error(term(), erlang:stacktrace()) -> #{pos_integer() => string()}.
format_error(_Reason, [{_Module, _Function, _Args, Extra} | _]) ->
    maps:get(cause, proplists:get_value(error_info, Extra, #{}), #{}).
