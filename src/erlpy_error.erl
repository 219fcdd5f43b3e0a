%% @private
%% Bad arguments of the public functions: `badarg' with the place and the reason, in the
%% form of EEP 54, so that the shell says which argument it was.
-module(erlpy_error).

-export([badarg/4, badarg_at/4]).
-export([no_owngil/0]).
-export([not_iodata/1, elsewhere/2]).
-export([not_started/0, was_started/0]).
-export([format_error/2]).

-include_lib("kernel/include/logger.hrl").

-export_type([call/0]).

-define(NO_HINT, {erlpy, no_start_hint}).

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
%% Why these are not iodata, naming the first part that makes them none.
-spec not_iodata(term()) -> string().
not_iodata(Data) when is_list(Data) ->
    because(wrong_part(Data));
not_iodata(Data) ->
    because({found, Data}).

because({found, Number}) when is_integer(Number) ->
    text("not iodata: ~b is not a byte in a list, 0 to 255 "
         "(unicode:characters_to_binary/1 makes bytes of text)", [Number]);
because({found, Part}) ->
    text("not iodata: ~0tP is neither a binary nor a list of bytes, binaries and such lists",
         [Part, 12]);
because(none) ->
    "not iodata".

wrong_part([Byte | Rest]) when is_integer(Byte), Byte >= 0, Byte =< 255 ->
    wrong_part(Rest);
wrong_part([Binary | Rest]) when is_binary(Binary) ->
    wrong_part(Rest);
wrong_part([List | Rest]) when is_list(List) ->
    case wrong_part(List) of
        none -> wrong_part(Rest);
        Found -> Found
    end;
wrong_part([Wrong | _]) ->
    {found, Wrong};
wrong_part(End) when End =:= []; is_binary(End) ->
    none;
wrong_part(End) ->
    {found, End}.

%% Of a buffer or channel that lives on another node.
-spec elsewhere(string(), reference()) -> string().
elsewhere(What, Reference) ->
    text("~s of another node: only processes of ~tp can use it", [What, node(Reference)]).

%% The answer to calls while the application does not run.  In a node that has never started
%% it nobody may have thought of that: it is told, once.
-spec not_started() -> {error, not_started}.
not_started() ->
    case persistent_term:get(?NO_HINT, false) of
        true ->
            ok;
        false ->
            was_started(),
            ?LOG_WARNING("erlpy: Python was called, but the application erlpy is not started. "
                         "In a shell: application:ensure_all_started(erlpy). In an application "
                         "or release: name erlpy in `applications' of its .app.src")
    end,
    {error, not_started}.

%% The hint is not for those who have started it themselves.
-spec was_started() -> ok.
was_started() ->
    persistent_term:put(?NO_HINT, true).

text(Format, Values) ->
    unicode:characters_to_list(io_lib:format(Format, Values)).

-spec format_error(term(), erlang:stacktrace()) -> #{pos_integer() => string()}.
format_error(_Reason, [{_Module, _Function, _Args, Extra} | _]) ->
    maps:get(cause, proplists:get_value(error_info, Extra, #{}), #{}).
